# shellcheck shell=bash
# One Kafka process, broker and controller, on loopback. Sourced after scripts/env.sh, never run.

# start_kafka FOLDER: starts Kafka with its data and log in FOLDER, or again what was there; sets KAFKA_BROKERS and KAFKA_PID,
# and KAFKA_SECURE, which wants TLS (FOLDER/certificate.pem is its own and whom to believe) and the user redkite with the password
# secret-of-the-test.
start_kafka() {
  local folder=$1 classpath
  "$ROOT/tests/kafka/build"
  classpath=$(find "$REDKITE_CACHE/kafka/jars" -name '*.jar' -printf '%p:')
  if [ ! -e "$folder/server.properties" ]; then
    kafka_properties "$folder"
    kafka_java "$classpath" kafka.tools.StorageTool format --cluster-id cmVka2l0ZS10ZXN0LTAwMQ \
      --config "$folder/server.properties" >"$folder/format.log" 2>&1 || {
      cat "$folder/format.log" >&2
      return 1
    }
  fi
  KAFKA_BROKERS=$(sed -n 's|^# brokers ||p' "$folder/server.properties")
  # shellcheck disable=SC2034 # for the one who sources this
  KAFKA_SECURE=$(sed -n 's|^# secure ||p' "$folder/server.properties")
  # It lives on when the one who started it is itself started by a test.
  kafka_java "$classpath" kafka.Kafka "$folder/server.properties" </dev/null >>"$folder/log" 2>&1 9>&- &
  KAFKA_PID=$!
  echo "$KAFKA_PID" >"$folder/pid"
  if ! wait_for "Kafka" 90 kafka_answers; then
    tail -n 30 "$folder/log" >&2
    stop_kafka
    return 1
  fi
}

kafka_properties() {
  local folder=$1 port secure controller
  mkdir -p "$folder"
  port=$(free_port)
  secure=$(free_port)
  controller=$(free_port)
  openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=kafka -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$folder/key.pem" -out "$folder/certificate.pem" 2>/dev/null
  cat "$folder/key.pem" "$folder/certificate.pem" >"$folder/keystore.pem"
  cat >"$folder/server.properties" <<END
# brokers 127.0.0.1:$port
# secure 127.0.0.1:$secure
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$controller
listeners=PLAINTEXT://127.0.0.1:$port,SECURE://127.0.0.1:$secure,CONTROLLER://127.0.0.1:$controller
advertised.listeners=PLAINTEXT://127.0.0.1:$port,SECURE://127.0.0.1:$secure
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_redkite="secret-of-the-test";
listener.name.secure.ssl.keystore.type=PEM
listener.name.secure.ssl.keystore.location=$folder/keystore.pem
log.dirs=$folder/data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
group.initial.rebalance.delay.ms=0
END
}

# kafka_java CLASSPATH CLASS ARGUMENT…: replaced by Java where it runs in the background, so that its pid is Kafka's.
kafka_java() {
  local classpath=$1
  shift
  local options=(-Xms64m -Xmx256m -XX:+UseSerialGC -XX:MaxDirectMemorySize=64m)
  options+=(-Dorg.slf4j.simpleLogger.defaultLogLevel=warn -Dorg.slf4j.simpleLogger.showDateTime=true)
  if [ "$BASHPID" != $$ ]; then exec java "${options[@]}" -cp "$classpath" "$@"; fi
  java "${options[@]}" -cp "$classpath" "$@"
}

kafka_answers() { (exec 3<>"/dev/tcp/${KAFKA_BROKERS%:*}/${KAFKA_BROKERS##*:}") && kill -0 "$KAFKA_PID"; }

kafka_ended() { ! kill -0 "$KAFKA_PID" 2>/dev/null || grep -q '^State:.Z' "/proc/$KAFKA_PID/status"; }

stop_kafka() {
  [ -n "${KAFKA_PID:-}" ] || return 0
  kill "$KAFKA_PID" 2>/dev/null || true
  wait_for "the end of Kafka" 30 kafka_ended || kill -9 "$KAFKA_PID" 2>/dev/null || true
  wait "$KAFKA_PID" 2>/dev/null || true
  KAFKA_PID=
}
