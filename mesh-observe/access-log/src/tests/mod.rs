mod escape;
mod format;
mod time;
