//! The publisher as a Lambda function, behind a function URL or an API Gateway HTTP API.

use drystone_mains::Environment;
use drystone_publisher::api_router;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    let environment = Environment::of_process()?;
    environment.start_logging();
    let service = environment.open().await?;
    lambda_http::run(api_router(service, None)).await
}
