"""Wire forms. Each module decodes a body into messages and renders the answer that its clients expect:

`decode(body, receipt) -> list[Message | None]`   None where a message was rejected whole (see the receipt)
`micros(timestamp) -> int`                        µs since 1970; ValueError says what is wrong
`answer(receipt) -> (status, body)`, `refusal(error) -> body`
"""
