use bonsai::Stack;
use log_broker_client::{At, Client, ProducerOptions, Record};

/// What a project's own test looks like.
async fn records_are_stored(stack: &Stack) {
    let brokers = stack.brokers().expect("the stack has a broker");
    let client = Client::connect(brokers, "test").await.unwrap();
    client.create_topic("orders", 1, 1, &[]).await.unwrap();
    let producer = client.producer(ProducerOptions::default()).await.unwrap();
    producer.send("orders", 0, vec![Record::default()]).await.unwrap();
    assert_eq!(client.offset("orders", 0, At::Latest).await.unwrap(), 1);
}
