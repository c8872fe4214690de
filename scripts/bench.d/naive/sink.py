"""The sink that everybody writes first: kafka-python, psycopg2, one INSERT a row.

Prints rows and seconds, from the first record to the last row."""
import json
import os
import sys
import time

import psycopg2
from kafka import KafkaConsumer

TIMES = ("occurred_at", "received_at")

database = psycopg2.connect(os.environ["DATABASE_URL"])
database.autocommit = True
cursor = database.cursor()
consumer = KafkaConsumer(
    os.environ["TOPIC"],
    bootstrap_servers=os.environ["BROKERS"].split(","),
    group_id=os.environ["GROUP"],
    auto_offset_reset="earliest",
    value_deserializer=json.loads,
)
wanted, rows, began = int(sys.argv[1]), 0, None
for record in consumer:
    began = began or time.time()
    event = record.value
    columns = list(event)
    values = ["to_timestamp(%s / 1000.0)" if c in TIMES else "%s" for c in columns]
    given = [json.dumps(v) if isinstance(v, dict) else v for v in event.values()]
    cursor.execute(
        f"insert into footfall.events ({', '.join(columns)}) values ({', '.join(values)})", given
    )
    rows += 1
    if rows == wanted:
        break
print(rows, time.time() - began)
