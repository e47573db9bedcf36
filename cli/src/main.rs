//! The `isthmus` program.

fn main() -> std::process::ExitCode {
    isthmus_cli::main()
}
