//! Tells the crate which `CPython` it is built for (`Py_3_12`, `Py_GIL_DISABLED`, …), and the linker how to lay it out.

fn main() {
    let system = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if system != "linux" {
        println!(
            "cargo::error=ferroloop's native code is for Linux only, and this build is for {system}: for macOS and \
             Windows there are wheels without it (`pip install --only-binary ferroloop ferroloop`)"
        );
        return;
    }
    pyo3_build_config::use_pyo3_cfgs();
    // LLD, Rust's linker since 1.90, would place the code at an address that is not its offset in the file;
    // py-spy's `--native` takes the two for equal and finds no stack then. GNU's ld ignores the option; a
    // linker that was chosen by hand may refuse it.
    if std::env::var_os("RUSTC_LINKER").is_none() {
        println!("cargo::rustc-cdylib-link-arg=-Wl,-z,separate-loadable-segments");
    }
}
