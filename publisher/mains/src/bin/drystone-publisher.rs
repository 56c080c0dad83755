//! The publisher as a plain HTTP server, for containers; a CDN or web server serves the files.

use drystone_mains::Environment;
use drystone_publisher::{api_router, serve};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let environment = Environment::of_process()?;
    environment.start_logging();
    let service = environment.open().await?;
    let listener = tokio::net::TcpListener::bind(&environment.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let (fresh, heartbeat_s) = (service.clone(), environment.heartbeat_s);
    tokio::spawn(async move { fresh.keep_fresh(heartbeat_s).await });
    let stop = async { drop(tokio::signal::ctrl_c().await) };
    serve(listener, api_router(service, None), environment.connections.within_open_files(), stop).await;
    Ok(())
}
