//! A spec: reading it, checking it, and telling what is wrong with it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mesh_proxy::{
    Layers, Plan, explain,
    read::{read, read_partly},
};

fuzz_target!(|text: &str| {
    let env = |name: &str| (name.len() < 4).then(|| name.repeat(2));
    let (document, faults) = read_partly(text, "mesh.yaml", &env);
    faults.iter().for_each(|fault| drop(fault.to_string()));
    assert_eq!(read(text, "mesh.yaml", &env).is_ok(), document.is_some() && faults.is_empty());
    let Some(document) = document else { return };
    match Plan::check(&document, &Layers::stock()) {
        Ok(plan) => drop((explain(&plan), plan.to_json())),
        Err(faults) => {
            assert!(!faults.is_empty());
            faults.iter().for_each(|fault| drop(fault.to_string()));
        }
    }
});
