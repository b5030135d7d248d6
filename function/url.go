package function

import "time"

// URLAuth says who may call a function by its URL.
type URLAuth string

// The ways.
const (
	// URLAuthNone takes requests without a signature: from anybody, where the
	// function's policy allows it.
	URLAuthNone URLAuth = "NONE"
	// URLAuthIAM takes signed requests of principals that are allowed to.
	URLAuthIAM URLAuth = "AWS_IAM"
)

// InvokeMode says how the result of a call by URL reaches the client.
type InvokeMode string

// The modes.
const (
	// Buffered sends the result when the call has ended.
	Buffered InvokeMode = "BUFFERED"
	// ResponseStream sends pieces as the function makes them.
	ResponseStream InvokeMode = "RESPONSE_STREAM"
)

// URLConfig is a function's URL, or that of one of its aliases.
type URLConfig struct {
	// ID is random and is never given again: the first label of the host.
	ID string `json:"id"`
	// Qualifier is an alias; empty for $LATEST.
	Qualifier    string     `json:"qualifier,omitempty"`
	Auth         URLAuth    `json:"auth"`
	Mode         InvokeMode `json:"mode"`
	CORS         *CORS      `json:"cors,omitempty"`
	Created      time.Time  `json:"created"`
	LastModified time.Time  `json:"lastModified"`
}

// CORS says what scripts of other origins may do with a URL, as in Lambda.
type CORS struct {
	AllowCredentials bool     `json:"allowCredentials,omitempty"`
	AllowHeaders     []string `json:"allowHeaders,omitempty"`
	AllowMethods     []string `json:"allowMethods,omitempty"`
	AllowOrigins     []string `json:"allowOrigins,omitempty"`
	ExposeHeaders    []string `json:"exposeHeaders,omitempty"`
	// MaxAge is how long a browser may keep the answer, in seconds; nil for
	// what it does by itself.
	MaxAge *int `json:"maxAge,omitempty"`
}
