package jail

var wantArch []uint32
