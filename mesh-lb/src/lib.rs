//! Load balancers as tower services over changing sets of endpoints
