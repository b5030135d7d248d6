# Runs a function's handler in Python: the client of Lambda's Runtime API for
# runtimes python3.*. Given to the interpreter with -c.
import sys


def _main():
    import http.client
    import importlib
    import json
    import logging
    import os
    import time
    import traceback

    env = os.environ
    root = env["LAMBDA_TASK_ROOT"]
    sys.argv = [os.path.join(root, "bootstrap")]
    sys.path[:] = [root] + [p for p in sys.path if p not in ("", root)]
    sys.stdout.reconfigure(line_buffering=True)
    sys.stderr.reconfigure(line_buffering=True)
    connection = http.client.HTTPConnection(env["AWS_LAMBDA_RUNTIME_API"])
    request_id = [""]

    class Failure(Exception):
        def __init__(self, kind, message, stack=()):
            super().__init__(message)
            self.kind, self.stack = kind, list(stack)

    def send(method, route, body=None, headers=None):
        connection.request(method, "/2018-06-01/runtime/" + route, body, headers or {})
        answer = connection.getresponse()
        return answer, answer.read()

    def header_text(text):
        return "".join(c if " " <= c <= "~" else "?" for c in text)

    def error_object(e):
        if isinstance(e, Failure):
            return {"errorMessage": str(e), "errorType": e.kind, "requestId": request_id[0], "stackTrace": e.stack}
        frames = [f for f in traceback.extract_tb(e.__traceback__) if f.filename != "<string>" and not f.filename.startswith("<frozen importlib")]
        return {
            "errorMessage": str(e), "errorType": type(e).__name__, "requestId": request_id[0],
            "stackTrace": traceback.format_list(frames),
        }

    def report(route, error):
        print("[ERROR] %s: %s" % (error["errorType"], error["errorMessage"]), flush=False)
        if error["stackTrace"]:
            sys.stdout.write("Traceback (most recent call last):\n" + "".join(error["stackTrace"]))
        flush()
        send("POST", route, json.dumps(error).encode(), {
            "Content-Type": "application/json", "Lambda-Runtime-Function-Error-Type": header_text(error["errorType"])})

    def flush():
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass

    class Formatter(logging.Formatter):
        converter = time.gmtime

        def format(self, record):
            record.aws_request_id = request_id[0]
            return super().format(record)

    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter("[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s", "%Y-%m-%dT%H:%M:%S"))
    logging.getLogger().addHandler(handler)

    class Named:
        def __init__(self, fields):
            for name, value in fields.items():
                setattr(self, name, value)

        def __repr__(self):
            return "%s(%s)" % (type(self).__name__, ", ".join("%s=%r" % f for f in self.__dict__.items()))

    def client_context(text):
        if not text:
            return None
        try:
            given = json.loads(text)
        except ValueError:
            return None
        if not isinstance(given, dict):
            return None
        client = given.get("client")
        return Named({"custom": given.get("custom"), "env": given.get("env"),
                      "client": Named(client) if isinstance(client, dict) else None})

    class LambdaContext:
        def __init__(self, headers):
            self._deadline = int(headers.get("Lambda-Runtime-Deadline-Ms") or 0)
            self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
            self.invoked_function_arn = headers.get("Lambda-Runtime-Invoked-Function-Arn")
            self.tenant_id = headers.get("Lambda-Runtime-Aws-Tenant-Id")
            self.client_context = client_context(headers.get("Lambda-Runtime-Client-Context"))
            self.identity = Named({"cognito_identity_id": None, "cognito_identity_pool_id": None})
            self.function_name = env.get("AWS_LAMBDA_FUNCTION_NAME")
            self.function_version = env.get("AWS_LAMBDA_FUNCTION_VERSION")
            self.memory_limit_in_mb = env.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
            self.log_group_name = env.get("AWS_LAMBDA_LOG_GROUP_NAME")
            self.log_stream_name = env.get("AWS_LAMBDA_LOG_STREAM_NAME")

        def get_remaining_time_in_millis(self):
            return max(self._deadline - int(time.time() * 1000), 0)

        def log(self, message):
            sys.stdout.write(str(message))

        def __repr__(self):
            return "LambdaContext(aws_request_id=%r, function_name=%r)" % (self.aws_request_id, self.function_name)

    def load(name):
        try:
            module, function = name.rsplit(".", 1)
        except ValueError as e:
            raise Failure("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (name, e)) from e
        if not module or not function:
            raise Failure("Runtime.MalformedHandlerName", "Bad handler '%s': a part of it is empty" % name)
        try:
            loaded = importlib.import_module(module.replace("/", "."))
        except ImportError as e:
            raise Failure("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module, e)) from e
        except SyntaxError as e:
            place = '  File "%s" Line %s\n    %s\n' % (e.filename, e.lineno, (e.text or "").strip())
            raise Failure("Runtime.UserCodeSyntaxError", "Syntax error in module '%s': %s" % (module, e), [place]) from e
        try:
            return getattr(loaded, function)
        except AttributeError as e:
            raise Failure("Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function, module)) from e

    def plain(value):
        import decimal
        if isinstance(value, decimal.Decimal):
            return float(value)
        raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)

    def run(function, body, context):
        try:
            event = json.loads(body)
        except ValueError as e:
            raise Failure("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % e) from e
        result = function(event, context)
        try:
            return json.dumps(result, ensure_ascii=False, default=plain).encode()
        except Exception as e:
            raise Failure("Runtime.MarshalError", "Unable to marshal response: %s" % e) from e

    try:
        function = load(env.get("_HANDLER", ""))
    except (Exception, SystemExit) as e:
        report("init/error", error_object(e))
        sys.exit(1)
    while True:
        answer, body = send("GET", "invocation/next")
        if answer.status != 200:
            sys.exit("bootstrap: next: status %d" % answer.status)
        context = LambdaContext(answer.headers)
        request_id[0] = context.aws_request_id
        trace = answer.headers.get("Lambda-Runtime-Trace-Id")
        if trace:
            env["_X_AMZN_TRACE_ID"] = trace
        else:
            env.pop("_X_AMZN_TRACE_ID", None)
        route = "invocation/%s/" % context.aws_request_id
        try:
            result = run(function, body, context)
        except Exception as e:
            report(route + "error", error_object(e))
            continue
        flush()
        send("POST", route + "response", result, {"Content-Type": "application/json"})


_main()
