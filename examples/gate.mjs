// May this strategy trade now? The Gate for an engine in Node.js (18 or later), without dependencies.
//
//   import { Gate } from './gate.mjs'
//   const gate = new Gate('/var/lib/parityd/system_actions', 'momentum')
//   const verdict = gate.read()            // never throws; ask before every order
//
// From a shell: node gate.mjs PATH STRATEGY [--remote]     prints the verdict; exit 0 trading enabled, 2 not.
//
// The rules are those of docs/integrations/any-engine.md. Two differences from parityd.engine.Gate: `1` and `1.0` are one number to
// JavaScript, and the boot-time clock has 10 ms (/proc/uptime), which are counted against the permission.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { createHash } from 'node:crypto'
import { fileURLToPath } from 'node:url'

const ACTIONS = ['CONTINUE', 'WARNING', 'REDUCE_SIZE', 'DISABLE_TRADING', 'EMERGENCY_STOP']
const STOP = 3
const ON_EXPIRY = ['WARNING', 'DISABLE_TRADING', 'EMERGENCY_STOP']
const STRATEGY = /^[A-Za-z0-9][A-Za-z0-9 ._:@-]{0,63}$/
const MAX_BYTES = 4 * 1024 * 1024
const AHEAD_MS = 5000
const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants

class Unfit extends Error {}
const demand = (holds, why) => { if (!holds) throw new Unfit(why) }
const rank = (entry) => ACTIONS.indexOf(entry.action)
const compare = (a, b) => rank(a) - rank(b) || b.size_multiplier - a.size_multiplier
const worst = (entries) => entries.reduce((a, b) => (compare(a, b) >= 0 ? a : b))

export class Gate {
  #file; #strategy; #remote; #bootId; #cached = null
  #memory = { floor: { action: 'CONTINUE', trading_enabled: true, size_multiplier: 1 }, onExpiry: 'DISABLE_TRADING', sequence: -1, decision: -1, known: false, instance: null, digest: '', until: 0 }

  constructor(where, strategy, { remote = false } = {}) {
    if (!STRATEGY.test(strategy)) throw new Error(`no possible name of a strategy: ${strategy}`)
    const full = path.resolve(where)
    this.#file = full.endsWith('.json') ? full : path.join(full, 'trading_override.json')
    this.#strategy = strategy
    this.#remote = remote
    try { this.#bootId = fs.readFileSync('/proc/sys/kernel/random/boot_id', 'ascii').trim() } catch { this.#bootId = null }
  }

  read() {
    try {
      const now = fs.lstatSync(this.#file, { bigint: true })
      if (!this.#cached?.settled || this.#cached.identity !== identity(now)) this.#cached = this.#load(now)
      return holds(this.#cached) ? this.#cached.fresh : this.#cached.stale
    } catch (error) {
      this.#cached = null
      return this.#closed(error instanceof Unfit ? error.message : error.code === 'ENOENT' ? 'missing' : `unreadable (${error.code ?? error.name})`)
    }
  }

  #load(seen) {
    demand(seen.isFile(), 'not a regular file')
    const started = BigInt(Date.now()) * 1_000_000n
    const { raw, info } = bytes(this.#file)
    const step = info.ctimeNs % 1_000_000_000n === 0n ? 2_000_000_000n : 20_000_000n
    const found = { identity: identity(info), settled: started > info.ctimeNs + step }
    try {
      const publication = parse(raw)
      const digest = createHash('sha256').update(raw).digest('hex')
      this.#follows(publication, digest)
      return { ...found, ...this.#accept(publication, digest) }
    } catch (error) {
      if (!(error instanceof Unfit)) throw error
      const closed = this.#closed(error.message)
      return { ...found, fresh: closed, stale: closed, from: 0, until: 0 }
    }
  }

  #follows(publication, digest) {
    const last = this.#memory
    if (last.instance === null) return
    demand(publication.instance === last.instance, 'foreign: of another instance')
    demand(publication.sequence >= last.sequence && publication.decision_sequence >= last.decision, 'backwards')
    demand(publication.sequence !== last.sequence || digest === last.digest, 'contradiction: one sequence with two contents')
  }

  #accept(p, digest) {
    const known = Object.hasOwn(p.strategies, this.#strategy)
    const entry = known ? p.strategies[this.#strategy] : p.default
    const last = this.#memory
    let window = { from: 0, until: 0 }
    if (p.boot_id === this.#bootId) {
      window = { from: p.issued_boottime_ns / 1e6, until: p.issued_boottime_ns / 1e6 + p.ttl_seconds * 1e3 }
    } else if (this.#remote) {
      const end = p.issued + p.ttl_seconds * 1e3
      const left = Math.min(end - Date.now(), p.ttl_seconds * 1e3 + AHEAD_MS)
      window = { from: 0, until: p.sequence === last.sequence ? last.until : uptime() + left, wall: [p.issued - AHEAD_MS, end] }
    }
    const force = holds(window) || last.instance === null // what was never in force cannot lower what was
    const onExpiry = force || ON_EXPIRY.indexOf(p.on_expiry) > ON_EXPIRY.indexOf(last.onExpiry) ? p.on_expiry : last.onExpiry
    const floor = force ? entry : worst([entry, last.floor])
    this.#memory = { floor, onExpiry, sequence: p.sequence, decision: p.decision_sequence, known, instance: p.instance, digest, until: window.until }
    const fresh = verdict(entry, entry.reason, p.sequence, p.decision_sequence, true, known)
    return { ...window, fresh, stale: this.#closed(`expired: publication ${p.sequence} is old or of another boot`) }
  }

  #closed(why) {
    const { floor, onExpiry, sequence, decision, known } = this.#memory
    const stop = ACTIONS.indexOf(onExpiry) >= STOP
    const expired = { action: onExpiry, trading_enabled: !stop, size_multiplier: stop ? 0 : 1 }
    const entry = rank(expired) > rank(floor) ? expired : floor
    return verdict(entry, why, Math.max(sequence, 0), Math.max(decision, 0), false, known)
  }
}

function verdict({ action, trading_enabled, size_multiplier }, reason, sequence, decision_sequence, fresh, known) {
  return Object.freeze({ action, trading_enabled, size_multiplier, reason, sequence, decision_sequence, fresh, known })
}

const identity = (info) => [info.ino, info.mtimeNs, info.ctimeNs, info.size].join()
const uptime = () => Number.parseFloat(fs.readFileSync('/proc/uptime', 'ascii')) * 1e3 + 10

function holds({ from, until, wall }) {
  const now = uptime()
  return from <= now && now < until && (!wall || (wall[0] <= Date.now() && Date.now() < wall[1]))
}

function bytes(file) {
  const descriptor = fs.openSync(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    const info = fs.fstatSync(descriptor, { bigint: true })
    const folder = fs.statSync(path.dirname(file), { bigint: true })
    demand(info.isFile(), 'not a regular file')
    demand(info.size <= BigInt(MAX_BYTES), `over ${MAX_BYTES} bytes`)
    demand(!(info.mode & 0o022n), 'the file is writable by others')
    demand(!(folder.mode & 0o002n) && (!(folder.mode & 0o020n) || folder.mode & 0o1000n), 'the folder is writable by others')
    demand([0n, folder.uid, BigInt(process.geteuid())].includes(info.uid), 'the file belongs to somebody else')
    const raw = fs.readFileSync(descriptor)
    const after = fs.fstatSync(descriptor, { bigint: true })
    demand(BigInt(raw.length) === info.size && after.size === info.size && after.mtimeNs === info.mtimeNs, 'torn: changed while it was read')
    return { raw, info }
  } finally {
    fs.closeSync(descriptor)
  }
}

function parse(raw) {
  let body
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw)
    body = JSON.parse(text)
    demand(!hasDuplicates(text), 'duplicate keys')
  } catch (error) {
    throw error instanceof Unfit ? error : new Unfit('torn or not JSON')
  }
  demand(isObject(body), 'not a JSON object')
  demand(body.schema === 'parityd/trading_override/1', 'foreign')
  for (const key of ['sequence', 'decision_sequence', 'issued_boottime_ns']) demand(Number.isInteger(body[key]) && body[key] >= 0 && body[key] < 2 ** 63, key)
  for (const key of ['instance', 'boot_id']) demand(typeof body[key] === 'string' && body[key].trim() && body[key].isWellFormed?.() !== false, key)
  demand(Number.isFinite(body.ttl_seconds) && body.ttl_seconds > 0, 'ttl_seconds')
  const issued = instant(body.issued_at)
  demand(Math.abs(instant(body.expires_at) - issued - body.ttl_seconds * 1e3) <= 1.001, 'contradiction: expires_at')
  demand(ON_EXPIRY.includes(body.on_expiry), 'on_expiry')
  demand(isObject(body.strategies) && Object.keys(body.strategies).every((name) => STRATEGY.test(name)), 'strategies')
  const entries = Object.values(body.strategies)
  for (const entry of [body, body.default, ...entries]) check(entry)
  demand(!entries.length || compare(body, worst(entries)) >= 0, 'contradiction: the top level is less severe than an entry')
  demand(compare(body, worst([...entries, body.default])) <= 0, 'contradiction: the top level is more severe than every entry')
  return { ...body, issued }
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)

function check(entry) {
  demand(isObject(entry) && ACTIONS.includes(entry.action) && typeof entry.reason === 'string', 'an entry is incomplete')
  demand(entry.reason.isWellFormed?.() !== false, 'a reason is no text')
  const { action, trading_enabled: enabled, size_multiplier: size } = entry
  demand(enabled === rank(entry) < STOP, 'contradiction: trading_enabled')
  demand(rank(entry) >= STOP ? size === 0 : action === 'REDUCE_SIZE' ? typeof size === 'number' && size >= 0 && size < 1 : size === 1, 'contradiction: size_multiplier')
}

function instant(text) {
  const part = typeof text === 'string' && /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d{1,9})?(Z|([+-])(\d\d):(\d\d))$/.exec(text)
  demand(part, 'no RFC 3339 time')
  const [year, month, day, hour, minute, second] = part.slice(1, 7).map(Number)
  const date = new Date(Date.UTC(2000, month - 1, day, hour, minute, second))
  date.setUTCFullYear(year, month - 1, day)
  demand(date.getUTCMonth() === month - 1 && date.getUTCDate() === day && year > 0 && hour < 24 && minute < 60 && second < 60, 'no RFC 3339 time')
  const [away, minutes] = [Number(part[10] ?? 0), Number(part[11] ?? 0)]
  demand(away < 24 && minutes < 60, 'no RFC 3339 time')
  const fraction = Math.trunc(Number(`0${part[7] ?? '.0'}`) * 1e6 + 1e-4) / 1e3
  return date.getTime() + fraction - (part[9] === '-' ? -1 : 1) * (away * 60 + minutes) * 60_000
}

function hasDuplicates(text) { // of text that JSON.parse has accepted
  const open = []
  let last
  for (const [token] of text.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:]/gs)) {
    if (token === '{') open.push(new Set())
    else if (token === '[') open.push(null)
    else if (token === '}' || token === ']') open.pop()
    else if (token === ':') {
      if (open.at(-1).has(last)) return true
      open.at(-1).add(last)
    } else last = JSON.parse(token)
  }
  return false
}

function isMain() {
  try { return fs.realpathSync(process.argv[1]) === fileURLToPath(import.meta.url) } catch { return false }
}

if (isMain()) {
  const [where, strategy] = process.argv.slice(2).filter((word) => word !== '--remote')
  if (!strategy) throw new Error('usage: node gate.mjs PATH STRATEGY [--remote]')
  const said = new Gate(where, strategy, { remote: process.argv.includes('--remote') }).read()
  console.log(JSON.stringify(said))
  process.exitCode = said.trading_enabled ? 0 : 2
}
