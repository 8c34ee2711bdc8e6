pub const V: u32 = 2;
