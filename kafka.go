package main

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"footfall/kafka"
)

// kafkaFlags are how Kafka is reached, and the topic.
type kafkaFlags struct {
	Brokers brokers `help:"Kafka brokers, host:port each." placeholder:"HOST:PORT"`
	Topic   string  `help:"Topic of the events." default:"footfall.events"`

	KafkaTLS          bool      `name:"kafka-tls" help:"Speak TLS with the brokers; the settings below of files and names do so by themselves."`
	KafkaCA           file      `name:"kafka-ca" help:"Certificates (PEM) of who signs the brokers'; the system's when left out." placeholder:"FILE"`
	KafkaCert         file      `help:"Client certificate (PEM) to show to the brokers; read again for each connection." placeholder:"FILE"`
	KafkaKey          file      `help:"Its private key (PEM)." placeholder:"FILE"`
	KafkaServerName   string    `help:"Name in the brokers' certificates when they are dialled by another." placeholder:"NAME"`
	KafkaSASL         mechanism `name:"kafka-sasl" help:"How to log in: plain, scram-sha-256 or scram-sha-512; not at all when left out." placeholder:"MECHANISM"`
	KafkaUser         string    `help:"User to log in as." placeholder:"USER"`
	KafkaPassword     password  `help:"Its password; give it in the environment or by file, other users see flags." placeholder:"…"`
	KafkaPasswordFile file      `help:"File with its password; read again for each connection." placeholder:"FILE"`
}

type (
	mechanism string
	// password is a kafka.Secret: it does not print itself.
	password = kafka.Secret
)

func readMechanism(s string) (mechanism, error) {
	switch m := strings.ToLower(s); m {
	case kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512:
		return mechanism(m), nil
	}
	return "", fmt.Errorf("%q is not %s, %s or %s", s, kafka.Plain, kafka.ScramSHA256, kafka.ScramSHA512)
}

func readPassword(s string) (password, error) { return password(s), nil }

// cluster is what the settings say, once they are known to fit together.
func (k *kafkaFlags) cluster() (kafka.Cluster, error) {
	c := kafka.Cluster{Brokers: k.Brokers}
	if k.KafkaTLS || cmp.Or(k.KafkaCA, k.KafkaCert, k.KafkaKey, file(k.KafkaServerName)) != "" {
		c.TLS = &kafka.TLS{CAFile: string(k.KafkaCA), CertFile: string(k.KafkaCert),
			KeyFile: string(k.KafkaKey), ServerName: k.KafkaServerName}
	}
	if k.KafkaSASL != "" {
		c.SASL = &kafka.SASL{Mechanism: string(k.KafkaSASL), User: k.KafkaUser,
			Password: k.KafkaPassword, PasswordFile: string(k.KafkaPasswordFile)}
	}
	var err error
	if k.KafkaPassword != "" && k.KafkaPasswordFile != "" {
		err = errors.New("--kafka-password and --kafka-password-file: give one of them")
	}
	if k.KafkaSASL == "" && (k.KafkaUser != "" || k.KafkaPassword != "" || k.KafkaPasswordFile != "") {
		err = errors.New("--kafka-user and its password do nothing without --kafka-sasl")
	}
	return c, errors.Join(err, c.Check())
}

// Validate says what does not fit together; kong calls it.
func (k *kafkaFlags) Validate() error {
	_, err := k.cluster()
	return err
}

// checkKafka says what is missing or does not fit together.
func (k *kafkaFlags) checkKafka() error {
	_, err := k.cluster()
	if len(k.Brokers) == 0 {
		err = errors.Join(errNoBrokers, err)
	}
	return err
}
