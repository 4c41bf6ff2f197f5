//! Circuit breaking as a tower layer, judged at the end of the body.
