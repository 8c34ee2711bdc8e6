pub const V: u32 = 1;
