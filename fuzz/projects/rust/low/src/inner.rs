pub const V: u32 = 3;
