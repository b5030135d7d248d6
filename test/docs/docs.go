// Package docs checks the documents: that links lead somewhere, that what is
// named exists, and that commands do what the pages say.
package docs
