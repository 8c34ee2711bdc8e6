mod inner;
pub const V: u32 = inner::V + if cfg!(feature = "big") { 100 } else { 0 };
