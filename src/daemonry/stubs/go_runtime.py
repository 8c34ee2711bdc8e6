"""What each written Go package begins with: one call or stream on a connection of its own."""

from __future__ import annotations

from typing import Final

RUNTIME: Final = r"""import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
)

const maxReplyBytes = 16 << 20

// CallError is an error that the daemon answered with and the interface does not declare.
type CallError struct {
	Name       string
	Parameters json.RawMessage
}

func (e *CallError) Error() string {
	return fmt.Sprintf("%s %s", e.Name, e.Parameters)
}

// Stream gives the values of a stream as they come; Close ends it, and so does its context.
type Stream[T any] struct {
	connection net.Conn
	messages   *bufio.Scanner
	read       func(json.RawMessage) (T, error)
	stop       func()
	ended      bool
}

func split(data []byte, atEOF bool) (int, []byte, error) {
	if end := bytes.IndexByte(data, 0); end >= 0 {
		return end + 1, data[:end], nil
	}
	return 0, nil, nil
}

func whole[T any](parameters json.RawMessage) (value T, err error) {
	if len(parameters) > 0 {
		err = json.Unmarshal(parameters, &value)
	}
	return value, err
}

func resultOf[T any](parameters json.RawMessage) (T, error) {
	fields, err := whole[struct {
		Result T `json:"result"`
	}](parameters)
	return fields.Result, err
}

func open[T any](
	ctx context.Context, path, method string, parameters any, more bool,
	read func(json.RawMessage) (T, error),
) (*Stream[T], error) {
	message, err := json.Marshal(struct {
		Method     string `json:"method"`
		Parameters any    `json:"parameters"`
		More       bool   `json:"more,omitempty"`
	}{method, parameters, more})
	if err != nil {
		return nil, err
	}
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	done := make(chan struct{})
	go func() {
		select {
		case <-ctx.Done():
			connection.Close()
		case <-done:
		}
	}()
	if _, err := connection.Write(append(message, 0)); err != nil {
		close(done)
		connection.Close()
		return nil, err
	}
	messages := bufio.NewScanner(connection)
	messages.Buffer(nil, maxReplyBytes)
	messages.Split(split)
	return &Stream[T]{connection, messages, read, func() { close(done) }, false}, nil
}

// Next returns the next value, and false once there is none any more.
func (s *Stream[T]) Next() (value T, more bool, err error) {
	if s.ended {
		return value, false, nil
	}
	if !s.messages.Scan() {
		err = s.messages.Err()
		if err == nil {
			err = errors.New("the connection was lost")
		}
		s.Close()
		return value, false, err
	}
	var reply struct {
		Error      string          `json:"error"`
		Parameters json.RawMessage `json:"parameters"`
		Continues  bool            `json:"continues"`
	}
	if err = json.Unmarshal(s.messages.Bytes(), &reply); err == nil && reply.Error != "" {
		err = errorOf(reply.Error, reply.Parameters)
	} else if err == nil {
		value, err = s.read(reply.Parameters)
	}
	if err != nil || !reply.Continues {
		s.Close()
	}
	return value, err == nil, err
}

// Close ends the stream, in the daemon too.  A second call does nothing.
func (s *Stream[T]) Close() {
	if !s.ended {
		s.ended = true
		s.stop()
		s.connection.Close()
	}
}

func call[T any](
	ctx context.Context, path, method string, parameters any, read func(json.RawMessage) (T, error),
) (value T, err error) {
	stream, err := open(ctx, path, method, parameters, false, read)
	if err != nil {
		return value, err
	}
	defer stream.Close()
	value, _, err = stream.Next()
	return value, err
}
"""
