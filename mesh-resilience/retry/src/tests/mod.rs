mod budget;
mod model;
mod verdict;
