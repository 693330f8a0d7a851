// Ask mt5relay with the package `redis`: npm install, then
//
//   node relay.js ask ACCOUNT OPERATION [ARGUMENTS [TIMEOUT_MS [ID]]]
//   node relay.js snapshot ACCOUNT | health | events [COUNT]
//
// REDIS_URL, MT5_TERMINAL_ID and MT5_KEY_PREFIX as everywhere. Prints JSON; the exit status is 0
// for an answer and 1 for an error.

import { createHash, randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { createClient } from 'redis'

// Copy submit.lua beside your program, from the release that your worker runs.
const SUBMIT = await readFile(
  new URL('../../mt5relay_shared/scripts/submit.lua', import.meta.url), 'utf8')
const DIGEST = createHash('sha1').update(SUBMIT).digest('hex')
const QUEUE_LIMIT = 10_000 // requests that may wait; past them QUEUE_FULL
const MARKER_OUTLIVES_MS = 60_000
const GRACE_MS = 1_000 // past the deadline; the worker itself says DEADLINE_EXCEEDED
const BLOCK_MS = 1_000 // that one read waits
const CONNECT_MS = 2_000
const PAUSE_MS = 200 // between tries while Redis is away

export class RelayError extends Error {
  constructor (error) {
    super(`${error.code}: ${error.message}`)
    this.error = error // code, message, retryable, retry_after_ms
  }
}

// One call of `ask` at a time; for many at once keep one reader of the stream, and a promise by id.
export class Relay {
  static async open (url, terminal = 'main', prefix = 'mt5') {
    const redis = createClient({ url, disableOfflineQueue: true })
    const reader = redis.duplicate() // a connection of its own for reads that block
    const connected = [redis, reader].map(async client => {
      client.on('error', () => {}) // each call says so itself
      await client.connect() // it goes on trying, so nobody may wait for it without a bound
    })
    await Promise.race([Promise.all(connected), sleep(CONNECT_MS, undefined, { ref: false })])
    return new Relay(redis, reader, `{${prefix}:${terminal}}`)
  }

  constructor (redis, reader, tag) {
    this.redis = redis
    this.reader = reader
    this.tag = tag
    this.name = `js-${randomUUID()}`
    this.stream = `${tag}:replies:${this.name}`
  }

  // The reply. Whatever breaks on the way, the same id is never executed twice.
  async ask (account, operation, args = {}, timeoutMs = 10_000, id = randomUUID()) {
    const giveUp = performance.now() + timeoutMs + GRACE_MS
    for (;;) {
      try {
        const reply = await this.#answered({
          v: 1, id, account, operation, arguments: args, timeout_ms: timeoutMs, reply_to: this.name
        }, giveUp)
        if (reply.status === 'error') throw new RelayError(reply.error)
        return reply
      } catch (trouble) {
        if (trouble instanceof RelayError) throw trouble
        const isRefused = /^(NOPERM|OOM|WRONGTYPE)/.test(trouble.message)
        if (isRefused || performance.now() + PAUSE_MS >= giveUp) {
          throw new RelayError(
            { code: 'REDIS_UNAVAILABLE', message: trouble.message, retryable: true })
        }
        await sleep(PAUSE_MS) // then the same id again
      }
    }
  }

  async #answered (request, giveUp) {
    const left = Math.max(1, Math.floor(giveUp - GRACE_MS - performance.now()))
    request.timeout_ms = Math.min(request.timeout_ms, left)
    // One's own reply stream, before the request: the worker writes to it, but never makes it.
    const cursor = await this.#call('XADD', this.stream, 'MAXLEN', '~', 1000, '*', 'hello', '')
    await this.#call('PEXPIRE', this.stream, left + 60_000)
    const [word, ...rest] = await this.#submit(request)
    switch (word) {
      case 'stored': return JSON.parse(rest[0])
      case 'accepted':
      case 'attached': return await this.#awaited(request.id, cursor, giveUp)
      case 'refused': throw new RelayError({
        code: rest[0], message: 'refused', retryable: true, retry_after_ms: rest[1] || null
      })
      case 'conflict': throw new RelayError({
        code: 'VALIDATION_FAILED', message: 'id: another question has it', retryable: false
      })
      default: throw new RelayError({
        code: 'INTERNAL', message: `submit.lua said ${word}`, retryable: false
      })
    }
  }

  async #submit (request) {
    const keys = ['requests', 'lease', 'health', 'queue', 'shares',
      `request:${request.id}`, `reply:${request.id}`].map(name => `${this.tag}:${name}`)
    const words = [this.stream, QUEUE_LIMIT, 0, MARKER_OUTLIVES_MS,
      fingerprint(request), JSON.stringify(request), request.timeout_ms, request.account]
    let answers
    try {
      answers = await this.#call('EVALSHA', DIGEST, keys.length, ...keys, ...words)
    } catch (error) {
      if (!error.message.startsWith('NOSCRIPT')) throw error
      answers = await this.#call('EVAL', SUBMIT, keys.length, ...keys, ...words)
    }
    return answers[1] // after the server's time: one answer for each request
  }

  async #awaited (id, cursor, giveUp) {
    for (let left; (left = giveUp - performance.now()) > 0;) {
      const BLOCK = Math.max(1, Math.floor(Math.min(left, BLOCK_MS)))
      const found = await this.reader.xRead({ key: this.stream, id: cursor }, { BLOCK })
      for (const entry of found?.[0].messages ?? []) {
        cursor = entry.id
        if (entry.message[id] !== undefined) return JSON.parse(entry.message[id])
      }
    }
    const reply = await this.redis.get(`${this.tag}:reply:${id}`) // the durable one
    if (reply !== null) return JSON.parse(reply)
    // Nobody waits any more: the worker may drop it, and no login is made for it.
    await this.redis.hDel(`${this.tag}:request:${id}`, `to:${this.stream}`)
    throw new RelayError({
      code: 'DEADLINE_EXCEEDED', message: 'no reply; ask again with the same id', retryable: true
    })
  }

  // The last good full read, null where there is none. It says how old it is: as_of_ms.
  async snapshot (account) {
    const [asOf, synchronized, data] = await this.redis.hmGet(
      `${this.tag}:snapshot:${account}`, ['as_of', 'synchronized', 'data'])
    return data === null
      ? null
      : { as_of_ms: Number(asOf), synchronized, data: JSON.parse(data) }
  }

  // Empty: no worker lives. All values are text.
  async health () {
    return await this.redis.hGetAll(`${this.tag}:health`)
  }

  // The newest ones, oldest first. To follow them: XREAD BLOCK from the last id.
  async events (count = 10) {
    const entries = await this.redis.xRevRange(`${this.tag}:events`, '+', '-', { COUNT: count })
    return entries.reverse().map(entry => JSON.parse(entry.message.event))
  }

  async close () {
    await this.redis.unlink(this.stream).catch(() => {})
    this.redis.destroy()
    this.reader.destroy()
  }

  async #call (...words) {
    return await this.redis.sendCommand(words.map(String))
  }
}

// What is asked, whoever asks and until when: by it `submit` knows a repetition. The keys of
// `arguments` are sorted; none of them holds an object.
export function fingerprint (request) {
  const names = Object.keys(request.arguments).sort()
  const sorted = Object.fromEntries(names.map(name => [name, request.arguments[name]]))
  const body = JSON.stringify([request.account, request.operation, sorted])
  return createHash('sha256').update(body).digest('hex').slice(0, 32)
}

async function main ([command, ...words]) {
  if (!['ask', 'snapshot', 'health', 'events'].includes(command)) {
    console.error('usage: node relay.js ask|snapshot|health|events …')
    process.exit(2)
  }
  const { REDIS_URL, MT5_TERMINAL_ID, MT5_KEY_PREFIX } = process.env
  const relay = await Relay.open(
    REDIS_URL || 'redis://127.0.0.1:6379/0', MT5_TERMINAL_ID || 'main', MT5_KEY_PREFIX || 'mt5')
  const commands = {
    ask: ([account, operation, args = '{}', timeoutMs = '10000', id]) =>
      relay.ask(account, operation, JSON.parse(args), Number(timeoutMs), id),
    snapshot: ([account]) => relay.snapshot(account),
    health: () => relay.health(),
    events: ([count = '10']) => relay.events(Number(count))
  }
  try {
    console.log(JSON.stringify(await commands[command](words)))
  } catch (failed) {
    if (!(failed instanceof RelayError)) throw failed
    console.log(JSON.stringify({ status: 'error', error: failed.error }))
    process.exitCode = 1
  } finally {
    await relay.close()
  }
}

await main(process.argv.slice(2))
