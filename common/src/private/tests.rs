use super::*;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

/// Names the data folder for `owner_in_a_child_process`.
const OWNER_FOLDER: &str = "PODFLEET_TEST_OWNER_FOLDER";

async fn query(url: &str, statement: &str) -> anyhow::Result<Vec<String>> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let rows = client.simple_query(statement).await?;
    drop(client);
    connection.await??;
    let text = |row: &tokio_postgres::SimpleQueryRow| row.get(0).unwrap_or_default().to_owned();
    Ok(rows
        .iter()
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(text(row)),
            _ => None,
        })
        .collect())
}

async fn redis_command(url: &str, words: &[&str]) -> anyhow::Result<Option<String>> {
    let mut connection = ::redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    let mut command = ::redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    Ok(command.query_async(&mut connection).await?)
}

async fn publish(url: &str, queue: &str) -> anyhow::Result<()> {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(lapin::options::ConfirmSelectOptions::default()).await?;
    let options = lapin::options::QueueDeclareOptions::durable();
    channel.queue_declare(queue.into(), options, lapin::types::FieldTable::default()).await?;
    let properties = lapin::BasicProperties::default().with_delivery_mode(2);
    let options = lapin::options::BasicPublishOptions::default();
    let confirm = channel.basic_publish("".into(), queue.into(), options, b"kept", properties).await?;
    assert!(confirm.await?.is_ack());
    Ok(connection.close(200, "done".into()).await?)
}

async fn waiting(url: &str, queue: &str) -> anyhow::Result<u32> {
    let connection = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    let queue = channel.queue_declare(queue.into(), passive, lapin::types::FieldTable::default()).await?;
    connection.close(200, "done".into()).await?;
    Ok(queue.message_count())
}

fn nothing_survives(data: &Path) {
    assert_eq!(serving(data, None), [0u32; 0]);
    let mentions = Command::new("pgrep").arg("-af").arg(data).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&mentions.stdout), "");
}

#[tokio::test]
async fn all_three_work_survive_kill_and_leave_nothing_behind() {
    let folder = tempfile::Builder::new().prefix("with a space ").tempdir().unwrap();
    let data = folder.path().canonicalize().unwrap();
    let mut servers = PrivateServers::start(&data).await.unwrap();
    let again = PrivateServers::start(&data).await.unwrap_err().to_string();
    assert!(again.contains("another podfleet is already running"), "{again}");

    postgres_keeps_what_was_committed(&mut servers.postgres).await;
    redis_is_empty_after_a_restart(&mut servers.redis).await;
    rabbitmq_keeps_confirmed_messages(&mut servers.rabbitmq).await;

    let broker = servers.rabbitmq.pid().unwrap();
    assert!(serving(&data, None).contains(&broker));
    servers.stop().await.unwrap();
    nothing_survives(&data);
}

async fn postgres_keeps_what_was_committed(postgres: &mut Postgres) {
    let settings = "SELECT setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit')";
    assert_eq!(query(&postgres.url(), settings).await.unwrap(), ["on", "on"]);
    postgres.create_database("first").await.unwrap();
    query(&postgres.database_url("first"), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")
        .await
        .unwrap();
    postgres.create_database_from("first", "copy").await.unwrap();
    let wrong = postgres.url().replace("podfleet:", "podfleet:x");
    assert!(query(&wrong, "SELECT 1").await.is_err(), "a wrong password is accepted");

    let url = postgres.database_url("copy");
    postgres.kill().await.unwrap();
    assert!(postgres.pid().is_none() && query(&url, "SELECT 1").await.is_err());
    postgres.restart().await.unwrap();
    assert_eq!(query(&url, "SELECT n FROM kept").await.unwrap(), ["7"]);

    postgres.pause();
    let frozen = tokio::time::timeout(Duration::from_millis(300), query(&url, "SELECT 1")).await;
    assert!(frozen.is_err(), "a frozen server answered");
    postgres.resume();
    assert_eq!(query(&url, "SELECT n FROM kept").await.unwrap(), ["7"]);

    assert!(postgres.wipe().await.is_err(), "a running server was wiped");
    postgres.stop().await.unwrap();
    postgres.wipe().await.unwrap();
    postgres.restart().await.unwrap();
    assert_eq!(query(&postgres.url(), "SELECT 1").await.unwrap(), ["1"]);
    assert!(query(&url, "SELECT 1").await.is_err(), "a wiped database is still there");
}

async fn redis_is_empty_after_a_restart(redis: &mut Redis) {
    let url = redis.url();
    redis_command(&url, &["SET", "key", "value"]).await.unwrap();
    assert_eq!(redis_command(&url, &["GET", "key"]).await.unwrap().as_deref(), Some("value"));
    let open = format!("redis://127.0.0.1:{}/", redis.port());
    assert!(redis_command(&open, &["GET", "key"]).await.is_err(), "no password is needed");
    redis.kill().await.unwrap();
    assert!(redis_command(&url, &["GET", "key"]).await.is_err());
    redis.restart().await.unwrap();
    assert_eq!(redis_command(&url, &["GET", "key"]).await.unwrap(), None);
}

async fn rabbitmq_keeps_confirmed_messages(rabbitmq: &mut RabbitMq) {
    rabbitmq.create_vhost("one").await.unwrap();
    let url = rabbitmq.vhost_url("one");
    publish(&url, "kept").await.unwrap();
    rabbitmq.kill().await.unwrap();
    assert!(waiting(&url, "kept").await.is_err());
    rabbitmq.restart().await.unwrap();
    assert_eq!(waiting(&url, "kept").await.unwrap(), 1);
    assert_eq!(rabbitmq.queues("one").await.unwrap()[0].name, "kept");

    rabbitmq.set_memory_alarm(true).await.unwrap();
    assert!(rabbitmq.ctl(&["eval", "rabbit_alarm:get_alarms()."]).await.unwrap().contains("memory"));
    rabbitmq.set_memory_alarm(false).await.unwrap();
    assert_eq!(rabbitmq.ctl(&["eval", "rabbit_alarm:get_alarms()."]).await.unwrap().trim(), "[]");

    rabbitmq.delete_queue("one", "kept").await.unwrap();
    rabbitmq.delete_queue("one", "kept").await.unwrap();
    assert!(waiting(&url, "kept").await.is_err());
    rabbitmq.delete_vhost("one").await.unwrap();
    assert!(publish(&url, "kept").await.is_err());
}

/// Not a test of its own: the other half of the next one.
#[tokio::test]
#[ignore = "is run by a_killed_owner_takes_its_servers_along, in a process of its own"]
async fn owner_in_a_child_process() {
    let Ok(folder) = std::env::var(OWNER_FOLDER) else { return };
    let folder = PathBuf::from(folder);
    let servers = PrivateServers::start(&folder).await.unwrap();
    query(&servers.postgres.url(), "CREATE TABLE kept (n int); INSERT INTO kept VALUES (9)").await.unwrap();
    fs::write(folder.join("ready"), "").unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_owner_takes_its_servers_along_and_their_data_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().canonicalize().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "private::tests::owner_in_a_child_process"])
        .env(OWNER_FOLDER, &data)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while !data.join("ready").exists() {
        assert!(owner.try_wait().unwrap().is_none() && Instant::now() < deadline, "the owner did not start");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(serving(&data, None).len() >= 4, "RabbitMQ, epmd, PostgreSQL, Redis");
    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !serving(&data, None).is_empty() {
        assert!(Instant::now() < deadline, "left behind: {:?}", serving(&data, None));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let postgres = Postgres::start(&data).await.unwrap();
    assert_eq!(query(&postgres.url(), "SELECT n FROM kept").await.unwrap(), ["9"]);
    drop(postgres);
    nothing_survives(&data);
}
