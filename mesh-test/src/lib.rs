//! Contract kit and test doubles for authors of governance layers
