//! The `verdict` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    verdict::cli::main()
}
