mod choice;
mod pick;
