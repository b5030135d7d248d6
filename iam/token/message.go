package token

import (
	"strings"

	"github.com/carrel-dev/carrel/internal/fields"
	"github.com/carrel-dev/carrel/tenant"
)

// maxMessage bounds an encoded message, in bytes.
const maxMessage = 6 << 10

// SealMessage encodes the explanation of a refusal, for the account whose
// principal was refused: DecodeAuthorizationMessage of STS, which checks a
// permission of that account, decodes it again. What is over 6 KiB is cut off.
func (r *Ring) SealMessage(account tenant.AccountID, explanation string) string {
	if len(explanation) > maxMessage {
		explanation = strings.ToValidUTF8(explanation[:maxMessage], "")
	}
	b := fields.Uint(nil, schema)
	b = fields.Text(b, account)
	b = fields.Text(b, explanation)
	sealed, _ := r.seal(Message, b)
	return text(Message, sealed)
}

// OpenMessage gives what SealMessage encoded, and for whom; the error is
// ErrInvalid.
func (r *Ring) OpenMessage(encoded string) (tenant.AccountID, string, error) {
	raw, err := decode(Message, encoded)
	if err != nil {
		return "", "", err
	}
	plaintext, _, err := r.open(Message, raw)
	if err != nil {
		return "", "", err
	}
	f, _, err := fields.Read(plaintext, schema)
	if err != nil {
		return "", "", ErrInvalid
	}
	account, explanation := tenant.AccountID(f.Text()), f.Text()
	if f.Done() != nil {
		return "", "", ErrInvalid
	}
	return account, explanation, nil
}
