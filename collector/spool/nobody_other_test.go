//go:build !linux

package spool

func becomeNobody() { panic("run as an ordinary user") }
