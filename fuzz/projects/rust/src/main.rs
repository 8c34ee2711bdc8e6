mod a;
#[path = "odd.rs"]
mod b;
#[link(name = "own", kind = "static")]
extern "C" { fn own() -> i32; }
fn main() {
    println!("{} {} {} {:?} {} {}", a::V, b::V, low::V,
        option_env!("VX_FUZZ_TAG"), include_str!("../data.txt"), unsafe { own() });
}
