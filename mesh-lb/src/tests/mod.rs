mod choice;
mod estimate;
mod model;
mod pick;
