#!/bin/bash
# Formats the data folder where it is new, and runs the broker. The image's own start does the same from variables, but
# not every build of it starts a second time over a folder that is formatted already.
set -eu
properties=$(dirname "$0")/kafka.properties
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --cluster-id 5L6g3nShT-eMCtK--X86sw --config "$properties"
exec java -Xms128m -Xmx512m -XX:+UseSerialGC -Dlog4j2.configurationFile=/etc/kafka/docker/log4j2.yaml \
  -Dkafka.logs.dir=/opt/kafka/logs -cp '/opt/kafka/libs/*' kafka.Kafka "$properties"
