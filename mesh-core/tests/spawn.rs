//! A stack with tower's `BoxError` is called in a task: the compiler has to see that its futures are `Send`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test fails by panicking")]

use mesh_core::{BoxError, GateLayer, gate_fn};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

#[tokio::test]
async fn a_stack_with_boxed_errors_is_called_in_a_task() {
    let layer = GateLayer::new(gate_fn(|_: &mut u32| Ok(()))).results_only();
    let task = tokio::spawn(async move {
        let mut service = ServiceBuilder::new()
            .layer(layer.clone())
            .layer(layer)
            .service(service_fn(async |n: u32| Ok::<_, BoxError>(n + 1)));
        service.ready().await?.call(1).await
    });
    assert_eq!(task.await.unwrap().unwrap(), 2);
}
