"""The collector that everybody writes first: Flask, kafka-python, a flush for each event."""
import json
import os
import time

from flask import Flask, request
from kafka import KafkaProducer

app = Flask(__name__)
producer = KafkaProducer(
    bootstrap_servers=os.environ["BROKERS"].split(","),
    acks="all",
    value_serializer=lambda e: json.dumps(e).encode(),
)


@app.post("/e")
def event():
    for e in request.get_json(force=True)["events"]:
        e.update(received_at=time.time(), ip=request.remote_addr, user_agent=request.user_agent.string)
        producer.send("naive.events", e)
    producer.flush()
    return "", 204
