//! Tells the crate which `CPython` it is built for (`Py_3_12`, `Py_GIL_DISABLED`, …).

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
}
