// An auditor that shares no code with this project: Go's golang.org/x/mod/sumdb/note and tlog, and the standard library.
//
//	auditor log DIR VKEY      audits the public files of a registry in a directory
//	auditor sizes FILE        checks roots, notes, tiles and proofs of many tree sizes (sizes.go), as written in a file (see sizes.rs)
//
// It prints one line that begins with "PASS", or the first thing that is wrong, and then ends with status 1.
//
// TileHashReader is not used: the version in Debian 12 does not authenticate every tile (CVE-2026-56865). Here every
// tile is recomputed from the entries, and compared byte for byte.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	var result string
	var err error
	switch {
	case len(os.Args) == 4 && os.Args[1] == "log":
		result, err = auditLog(os.Args[2], os.Args[3])
	case len(os.Args) == 3 && os.Args[1] == "sizes":
		result, err = checkSizes(os.Args[2])
	default:
		err = fmt.Errorf("usage: auditor log DIR VKEY | auditor sizes FILE")
	}
	if err != nil {
		fmt.Println("FAIL", err)
		os.Exit(1)
	}
	fmt.Println("PASS", result)
}

// hashes is the memory of a tree, in the order of tlog.StoredHashIndex.
type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index >= int64(len(h)) {
			return nil, fmt.Errorf("hash %d is not there yet", index)
		}
		out[i] = h[index]
	}
	return out, nil
}

func (h *hashes) add(n int64, entry []byte) error {
	more, err := tlog.StoredHashes(n, entry, *h)
	*h = append(*h, more...)
	return err
}

// c2spPath turns Go's path of a tile into that of C2SP tlog-tiles: no height, and "entries" for "data".
func c2spPath(t tlog.Tile) string {
	path := strings.TrimPrefix(t.Path(), fmt.Sprintf("tile/%d/", t.H))
	return "tile/" + strings.Replace(path, "data/", "entries/", 1)
}

// widest leaves out tiles that a wider one of the same place follows: older releases of the package name every width on the way.
func widest(all []tlog.Tile) []tlog.Tile {
	var tiles []tlog.Tile
	for _, tile := range all {
		if n := len(tiles); n > 0 && tiles[n-1].L == tile.L && tiles[n-1].N == tile.N {
			tiles[n-1] = tile
		} else {
			tiles = append(tiles, tile)
		}
	}
	return tiles
}

type checkpoint struct {
	origin string
	tree   tlog.Tree
}

// openCheckpoint opens a signed checkpoint (C2SP tlog-checkpoint).
func openCheckpoint(data []byte, verifier note.Verifier) (checkpoint, error) {
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return checkpoint{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 {
		return checkpoint{}, fmt.Errorf("a checkpoint of %d lines", len(lines))
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return checkpoint{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return checkpoint{lines[0], tlog.Tree{N: size, Hash: root}}, err
}

// auditLog recomputes a log from its entries: tiles, roots of every published size, the newest event's proof, and from its
// state down to the newest index file of one package.
func auditLog(dir, vkey string) (string, error) {
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return "", err
	}
	read := func(name string) ([]byte, error) { return os.ReadFile(filepath.Join(dir, filepath.FromSlash(name))) }
	data, err := read("log/checkpoint")
	if err != nil {
		return "", err
	}
	newest, err := openCheckpoint(data, verifier)
	if err != nil {
		return "", fmt.Errorf("log/checkpoint: %v", err)
	}
	if newest.origin != verifier.Name() {
		return "", fmt.Errorf("the origin is %q", newest.origin)
	}
	size := newest.tree.N

	var tree hashes
	var last []byte
	for n := int64(0); n*256 < size; n++ {
		width := size - n*256
		if width > 256 {
			width = 256
		}
		name := "log/" + c2spPath(tlog.Tile{H: 8, L: -1, N: n, W: int(width)})
		bundle, err := read(name)
		if err != nil {
			return "", err
		}
		for i := int64(0); i < width; i++ {
			if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
				return "", fmt.Errorf("%s ends within entry %d", name, i)
			}
			length := int(binary.BigEndian.Uint16(bundle))
			last, bundle = bundle[2:2+length], bundle[2+length:]
			if err := checkPosition(last, n*256+i); err != nil {
				return "", err
			}
			if err := tree.add(n*256+i, last); err != nil {
				return "", err
			}
		}
		if len(bundle) != 0 {
			return "", fmt.Errorf("%s has %d bytes more", name, len(bundle))
		}
	}
	if root, err := tlog.TreeHash(size, tree); err != nil || root != newest.tree.Hash {
		return "", fmt.Errorf("the entries hash to %v, the checkpoint says %v (%v)", root, newest.tree.Hash, err)
	}

	tiles := widest(tlog.NewTiles(8, 0, size))
	for _, tile := range tiles {
		name := "log/" + c2spPath(tile)
		found, err := read(name)
		if err != nil {
			return "", fmt.Errorf("at %d entries: %v", size, err)
		}
		expected, err := tlog.ReadTileData(tile, tree)
		if err != nil || !bytes.Equal(found, expected) {
			return "", fmt.Errorf("%s is not the tile of these entries (%v)", name, err)
		}
	}

	history, err := filepath.Glob(filepath.Join(dir, "log", "checkpoints", "*"))
	if err != nil {
		return "", err
	}
	for _, path := range history {
		data, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		old, err := openCheckpoint(data, verifier)
		if err != nil {
			return "", fmt.Errorf("%s: %v", path, err)
		}
		if strconv.FormatInt(old.tree.N, 10) != filepath.Base(path) {
			return "", fmt.Errorf("%s is of size %d", path, old.tree.N)
		}
		proof, err := tlog.ProveTree(size, old.tree.N, tree)
		if err != nil {
			return "", err
		}
		if err := tlog.CheckTree(proof, size, newest.tree.Hash, old.tree.N, old.tree.Hash); err != nil {
			return "", fmt.Errorf("%s is of another log: %v", path, err)
		}
	}

	data, err = read("log/latest.tlog-proof")
	if err != nil {
		return "", err
	}
	entry, err := checkProofFile(data, verifier)
	if err != nil {
		return "", fmt.Errorf("log/latest.tlog-proof: %v", err)
	}
	if !bytes.Equal(entry, last) {
		return "", fmt.Errorf("log/latest.tlog-proof does not hold the newest event")
	}
	proved, err := checkState(read, last)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d entries, %d tiles, %d checkpoints, %d files of the state", size, len(tiles), len(history), proved), nil
}

// checkPosition checks that an event names its own place.
func checkPosition(entry []byte, position int64) error {
	var event struct{ Seq int64 }
	if err := json.Unmarshal(entry, &event); err != nil || event.Seq != position {
		return fmt.Errorf("entry %d says that it is event %d (%v)", position, event.Seq, err)
	}
	return nil
}

// checkProofFile verifies a C2SP tlog-proof and returns the entry in it.
func checkProofFile(data []byte, verifier note.Verifier) ([]byte, error) {
	head, signed, found := strings.Cut(string(data), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return nil, fmt.Errorf("not a proof")
	}
	entry, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return nil, err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return nil, err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return nil, err
		}
		proof = append(proof, hash)
	}
	at, err := openCheckpoint([]byte(signed), verifier)
	if err != nil {
		return nil, err
	}
	return entry, tlog.CheckRecord(proof, at.tree.N, at.tree.Hash, index, tlog.RecordHash(entry))
}

// checkState walks the whole state map under the newest event: each shard is proved with the stock verifier, and every file
// that it names is compared with its digest. It returns the number of files.
func checkState(read func(string) ([]byte, error), newest []byte) (int, error) {
	var event struct{ State string }
	if err := json.Unmarshal(newest, &event); err != nil {
		return 0, err
	}
	text := strings.TrimPrefix(event.State, "sha256:")
	decoded, err := hex.DecodeString(text)
	if err != nil || len(decoded) != tlog.HashSize {
		return 0, fmt.Errorf("the state %q is not a digest", event.State)
	}
	var root tlog.Hash
	copy(root[:], decoded)
	emptyShard := tlog.RecordHash(nil)
	emptyMid := repeated(emptyShard)
	if root == repeated(emptyMid) {
		return 0, nil
	}
	top, err := readStateTile(read, "log/state/tile/1/", root)
	if err != nil {
		return 0, err
	}
	files := 0
	for slot, mid := range top {
		if mid == emptyMid {
			continue
		}
		leaves, err := readStateTile(read, "log/state/tile/0/", mid)
		if err != nil {
			return 0, err
		}
		for place, leaf := range leaves {
			if leaf == emptyShard {
				continue
			}
			name := "log/state/shard/" + hex.EncodeToString(leaf[:])
			shard, err := read(name)
			if err != nil {
				return 0, err
			}
			proof := append(siblings(leaves, place), siblings(top, slot)...)
			index := int64(slot*256 + place)
			if err := tlog.CheckRecord(proof, 65536, root, index, tlog.RecordHash(shard)); err != nil {
				return 0, fmt.Errorf("%s: %v", name, err)
			}
			checked, err := checkShard(read, name, index, string(shard))
			if err != nil {
				return 0, err
			}
			files += checked
		}
	}
	return files, nil
}

// checkShard compares the files that a shard names with their digests and lengths.
func checkShard(read func(string) ([]byte, error), name string, index int64, shard string) (int, error) {
	files := 0
	for _, line := range strings.Split(strings.TrimSuffix(shard, "\n"), "\n") {
		words := strings.Split(line, " ")
		place := sha256.Sum256([]byte(words[0]))
		if int64(binary.BigEndian.Uint16(place[:])) != index || len(words) < 3 {
			return 0, fmt.Errorf("%s has a line that is not its own: %q", name, line)
		}
		for _, word := range words[2:] {
			parts := strings.Split(word, ":")
			if len(parts) != 3 {
				return 0, fmt.Errorf("%s names %q", name, word)
			}
			if parts[0] == "r" {
				// Resolve records are not kept by their hash: the index file says the same.
				continue
			}
			object, err := read("o/" + parts[1])
			if err != nil {
				return 0, err
			}
			digest := sha256.Sum256(object)
			if hex.EncodeToString(digest[:]) != parts[1] || strconv.Itoa(len(object)) != parts[2] {
				return 0, fmt.Errorf("o/%s is not what %s names", parts[1], name)
			}
			files++
		}
	}
	return files, nil
}

func readStateTile(read func(string) ([]byte, error), folder string, root tlog.Hash) ([]tlog.Hash, error) {
	name := folder + hex.EncodeToString(root[:])
	data, err := read(name)
	if err != nil {
		return nil, err
	}
	if len(data) != 256*tlog.HashSize {
		return nil, fmt.Errorf("%s has %d bytes", name, len(data))
	}
	out := make([]tlog.Hash, 256)
	for i := range out {
		copy(out[i][:], data[i*tlog.HashSize:])
	}
	if rootOf(out) != root {
		return nil, fmt.Errorf("%s does not hash to its name", name)
	}
	return out, nil
}

func rootOf(row []tlog.Hash) tlog.Hash {
	for len(row) > 1 {
		row = above(row)
	}
	return row[0]
}

func above(row []tlog.Hash) []tlog.Hash {
	out := make([]tlog.Hash, len(row)/2)
	for i := range out {
		out[i] = tlog.NodeHash(row[2*i], row[2*i+1])
	}
	return out
}

func siblings(row []tlog.Hash, place int) tlog.RecordProof {
	var out tlog.RecordProof
	for ; len(row) > 1; row, place = above(row), place/2 {
		out = append(out, row[place^1])
	}
	return out
}

func repeated(hash tlog.Hash) tlog.Hash {
	for i := 0; i < 8; i++ {
		hash = tlog.NodeHash(hash, hash)
	}
	return hash
}
