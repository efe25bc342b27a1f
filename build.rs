//! Builds again when the web page has changed: it is embedded into the binary.

fn main() {
    // A path that is not there would count as changed at every build.
    let built = std::path::Path::new("dashboards/web/dist");
    if !built.exists()
        && let Err(error) = std::fs::create_dir_all(built)
    {
        println!("cargo::warning=the folder {} cannot be made: {error}", built.display());
    }
    println!("cargo::rerun-if-changed={}", built.display());
    println!("cargo::rerun-if-changed=build.rs");
}
