//! The kubectl plugin as people see it: what they type, what they read, and the exit code. The
//! cluster is in memory and the clock is paused.

mod contexts;
mod desk;
mod explaining;
mod forms;
mod making;
mod operating;
mod reading;
mod screens;
mod states;
mod terminal;
mod trouble;
mod walk;
mod wire;
