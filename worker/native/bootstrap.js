// Runs a function's handler in Node: the client of Lambda's Runtime API for
// runtimes nodejs*.x. Evaluated with node -e, so it is a CommonJS script.
'use strict'
const http = require('node:http')
const fs = require('node:fs')
const path = require('node:path')
const util = require('node:util')
const { createRequire } = require('node:module')
const { pathToFileURL } = require('node:url')
const { Writable } = require('node:stream')

const env = process.env
const [host, port] = env.AWS_LAMBDA_RUNTIME_API.split(':')
const agent = new http.Agent({ keepAlive: true, maxSockets: 4 })
const root = env.LAMBDA_TASK_ROOT
const streaming = Symbol('streaming handler')
let current = null // the call that runs

process.execArgv = []
process.argv = [process.argv[0], path.join(root, 'bootstrap')]

function request (method, route, headers, body) {
  return new Promise((resolve, reject) => {
    const r = http.request({ host, port, method, path: route, agent, headers }, (answer) => {
      const parts = []
      answer.on('data', (part) => parts.push(part))
      answer.on('end', () => resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) }))
      answer.on('error', reject)
    })
    r.on('error', reject)
    r.end(body)
  })
}

function post (route, body, headers) {
  const bytes = Buffer.from(body)
  return request('POST', '/2018-06-01/runtime/' + route, { 'Content-Type': 'application/json', 'Content-Length': bytes.length, ...headers }, bytes)
}

// errorObject is what Lambda's callers get of something that was thrown.
function errorObject (e) {
  if (util.types.isNativeError(e) || e instanceof Error) {
    return {
      errorType: String(e.name || 'Error'),
      errorMessage: String(e.message),
      trace: String(e.stack || e).split('\n').filter((line) => !line.includes('[eval'))
    }
  }
  return { errorType: typeof e, errorMessage: typeof e === 'string' ? e : (e === undefined ? 'undefined' : String(util.inspect(e))), trace: [] }
}

class RuntimeError extends Error {
  constructor (name, message, stack) {
    super(message)
    this.name = name
    this.stack = stack === undefined ? name + ': ' + message : name + ': ' + stack
  }
}

// ---- what the function prints

function printer (level, stream) {
  return (...args) => {
    const text = util.format(...args)
    stream.write(`${new Date().toISOString()}\t${current ? current.id : 'undefined'}\t${level}\t${text}\n`)
  }
}
console.log = printer('INFO', process.stdout)
console.info = printer('INFO', process.stdout)
console.debug = printer('DEBUG', process.stdout)
console.warn = printer('WARN', process.stderr)
console.error = printer('ERROR', process.stderr)
console.trace = (...args) => {
  const holder = { name: 'Trace', message: util.format(...args) }
  Error.captureStackTrace(holder, console.trace)
  printer('TRACE', process.stderr)(holder.stack)
}

// ---- streamed responses

class ResponseStream extends Writable {
  constructor (call) {
    super({ highWaterMark: 64 << 10 })
    this.call = call
    this.contentType = undefined
    this.request = null
    this.answered = new Promise((resolve, reject) => { this._resolve = resolve; this._reject = reject })
    this.answered.catch(() => {})
    // A response of no bytes is one too.
    this.on('finish', () => this._finished())
  }

  setContentType (type) {
    if (this.request) throw new Error('the response has begun, its content type cannot be set any more')
    this.contentType = type
  }

  _begin () {
    if (this.request) return this.request
    this.request = http.request({
      host,
      port,
      agent,
      method: 'POST',
      path: `/2018-06-01/runtime/invocation/${this.call.id}/response`,
      headers: {
        'Content-Type': this.contentType || 'application/octet-stream',
        'Lambda-Runtime-Function-Response-Mode': 'streaming',
        'Transfer-Encoding': 'chunked',
        Trailer: 'Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body'
      }
    }, (answer) => {
      answer.resume()
      answer.on('end', () => this._resolve())
    })
    this.request.on('error', (e) => this._reject(e))
    return this.request
  }

  _write (chunk, encoding, done) {
    const r = this._begin()
    if (r.write(chunk)) done()
    else r.once('drain', done)
  }

  _finished () { this._begin().end() }

  fail (e) {
    const body = errorObject(e)
    if (!this.request) return false
    this.request.addTrailers({
      'Lambda-Runtime-Function-Error-Type': body.errorType,
      'Lambda-Runtime-Function-Error-Body': Buffer.from(JSON.stringify(body)).toString('base64')
    })
    this.request.end()
    return true
  }
}

globalThis.awslambda = {
  streamifyResponse (handler) {
    handler[streaming] = true
    return handler
  },
  HttpResponseStream: {
    // from begins the response with what HTTP needs to know of it: JSON, and
    // eight zero bytes behind it.
    from (stream, prelude) {
      stream.setContentType('application/vnd.awslambda.http-integration-response')
      stream.write(JSON.stringify(prelude))
      stream.write(Buffer.alloc(8))
      return stream
    }
  }
}

// ---- the handler

// typeOf finds whether a .js file is a module, as Node does.
function isModule (file) {
  if (file.endsWith('.mjs')) return true
  if (file.endsWith('.cjs')) return false
  for (let dir = path.dirname(file); dir.startsWith(root); dir = path.dirname(dir)) {
    try {
      return JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8')).type === 'module'
    } catch (e) {
      if (e.code !== 'ENOENT') throw e
    }
    if (dir === path.dirname(dir)) break
  }
  return false
}

async function loadHandler (name) {
  const base = path.basename(name)
  const dot = base.indexOf('.')
  if (dot <= 0 || dot === base.length - 1 || name.includes('..')) throw new RuntimeError('Runtime.MalformedHandlerName', 'Bad handler')
  const file = path.join(root, path.dirname(name), base.slice(0, dot))
  const found = [file, file + '.js', file + '.mjs', file + '.cjs'].find((f) => fs.existsSync(f) && fs.statSync(f).isFile())
  let exported
  try {
    if (!found) {
      const e = new Error(`Cannot find module '${path.basename(file)}'\nRequire stack:\n- ${path.join(root, base.slice(0, dot))}`)
      e.code = 'MODULE_NOT_FOUND'
      throw e
    }
    exported = isModule(found) ? await import(pathToFileURL(found).href) : createRequire(path.join(root, 'bootstrap'))(found)
  } catch (e) {
    if (e instanceof SyntaxError) throw new RuntimeError('Runtime.UserCodeSyntaxError', String(e), e.stack)
    if (e && (e.code === 'MODULE_NOT_FOUND' || e.code === 'ERR_MODULE_NOT_FOUND')) throw new RuntimeError('Runtime.ImportModuleError', String(e), e.stack)
    throw e
  }
  let handler = exported
  for (const part of base.slice(dot + 1).split('.')) handler = handler === undefined || handler === null ? undefined : handler[part]
  if (handler === undefined || handler === null) throw new RuntimeError('Runtime.HandlerNotFound', `${name} is undefined or not exported`)
  if (typeof handler !== 'function') throw new RuntimeError('Runtime.HandlerNotFound', `${name} is not a function`)
  return handler
}

// ---- calls

class Call {
  constructor (answer) {
    const h = answer.headers
    this.id = h['lambda-runtime-aws-request-id']
    this.body = answer.body
    this.deadline = Number(h['lambda-runtime-deadline-ms'])
    this.ended = new Promise((resolve) => { this._ended = resolve })
    this.posted = false
    this.later = null
    const call = this
    this.context = {
      callbackWaitsForEmptyEventLoop: true,
      functionName: env.AWS_LAMBDA_FUNCTION_NAME,
      functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
      memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
      logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
      logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
      invokedFunctionArn: h['lambda-runtime-invoked-function-arn'],
      awsRequestId: this.id,
      clientContext: parsed(h['lambda-runtime-client-context']),
      identity: parsed(h['lambda-runtime-cognito-identity']),
      tenantId: h['lambda-runtime-aws-tenant-id'],
      getRemainingTimeInMillis () { return call.deadline - Date.now() },
      done (e, result) { call.callback(e, result) },
      succeed (result) { call.context.callbackWaitsForEmptyEventLoop = false; call.callback(null, result) },
      fail (e) { call.context.callbackWaitsForEmptyEventLoop = false; call.callback(e === undefined || e === null ? new Error('handled') : e) }
    }
    if (h['lambda-runtime-trace-id']) env._X_AMZN_TRACE_ID = h['lambda-runtime-trace-id']
    else delete env._X_AMZN_TRACE_ID
  }

  run (handler) {
    let event
    try {
      event = JSON.parse(this.body.toString('utf8'))
    } catch (e) {
      return this.fail(e)
    }
    if (handler[streaming]) return this.stream(handler, event)
    let result
    try {
      result = handler(event, this.context, (e, value) => this.callback(e, value))
    } catch (e) {
      return this.fail(e)
    }
    if (result && typeof result.then === 'function') {
      result.then((value) => this.succeed(value), (e) => this.fail(e))
    } else if (handler.length < 3 && !this.posted && !this.later) {
      // A handler without a callback gives its value at once, or when nothing
      // is left to do.
      if (result !== undefined) this.succeed(result)
    }
  }

  async stream (handler, event) {
    const out = new ResponseStream(this)
    try {
      await handler(event, out, this.context)
      if (!out.writableEnded) out.end()
      this.posted = true
      await out.answered
      this._ended()
    } catch (e) {
      if (!out.fail(e)) return this.fail(e)
      this.posted = true
      await out.answered.catch(() => {})
      this._ended()
    }
  }

  // callback ends the call, once the event loop is empty unless the function
  // says that it need not be.
  callback (e, value) {
    if (this.posted || this.later) return
    const end = () => e === undefined || e === null ? this.succeed(value) : this.fail(e)
    if (this.context.callbackWaitsForEmptyEventLoop) this.later = end
    else end()
  }

  // idle is called when nothing is left to do.
  idle () {
    if (this.posted) return
    if (this.later) this.later()
    else this.succeed(undefined)
  }

  succeed (value) {
    if (this.posted) return
    let text
    try {
      text = JSON.stringify(value === undefined ? null : value)
      if (text === undefined) text = 'null'
    } catch (e) {
      return this.fail(new RuntimeError('Runtime.MarshalError', 'Unable to stringify response body: ' + e.message))
    }
    this.posted = true
    post(`invocation/${this.id}/response`, text).then(this._ended, fatal)
  }

  fail (e) {
    if (this.posted) return
    this.posted = true
    const body = errorObject(e)
    console.error('Invoke Error ', JSON.stringify({ ...body, stack: body.trace, trace: undefined }))
    post(`invocation/${this.id}/error`, JSON.stringify(body), { 'Lambda-Runtime-Function-Error-Type': headerText(body.errorType) }).then(this._ended, fatal)
  }
}

function headerText (s) { return String(s).replace(/[^\x20-\x7e]/g, '?') }

function parsed (text) {
  if (!text) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function fatal (e) {
  process.stderr.write(`bootstrap: ${e && e.stack}\n`)
  process.exit(1)
}

// uncaught ends the process: what is left of the function is not to be trusted.
function uncaught (e, origin) {
  const error = origin === 'unhandledRejection'
    ? new RuntimeError('Runtime.UnhandledPromiseRejection', String(e instanceof Error ? `${e.name}: ${e.message}` : e), e && e.stack)
    : e
  const body = errorObject(error)
  const call = current
  console.error(origin === 'unhandledRejection' ? 'Unhandled Promise Rejection ' : 'Uncaught Exception ', JSON.stringify(body))
  if (!call || call.posted) {
    process.exitCode = 129
    return (call ? Promise.resolve() : post('init/error', JSON.stringify(body), { 'Lambda-Runtime-Function-Error-Type': headerText(body.errorType) }))
      .finally(() => process.exit(129))
  }
  call.posted = true
  post(`invocation/${call.id}/error`, JSON.stringify(body), { 'Lambda-Runtime-Function-Error-Type': headerText(body.errorType) })
    .finally(() => process.exit(129))
}
process.on('uncaughtException', (e) => uncaught(e, 'uncaughtException'))
process.on('unhandledRejection', (e) => uncaught(e, 'unhandledRejection'))
process.on('beforeExit', () => { if (current) current.idle() })

async function main () {
  let handler
  try {
    handler = await loadHandler(env._HANDLER)
  } catch (e) {
    const body = errorObject(e)
    console.error('Uncaught Exception ', JSON.stringify(body))
    await post('init/error', JSON.stringify(body), { 'Lambda-Runtime-Function-Error-Type': headerText(body.errorType) })
    process.exit(128)
  }
  for (;;) {
    const answer = await request('GET', '/2018-06-01/runtime/invocation/next')
    if (answer.status !== 200) fatal(new Error('next: status ' + answer.status))
    current = new Call(answer)
    current.run(handler)
    await current.ended
  }
}
main().catch(fatal)
