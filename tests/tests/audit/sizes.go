// The trees of every size: writes each line of a file (see sizes.rs) anew, with sumdb/tlog and sumdb/note, and compares.
package main

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// grown is a log that grows as the lines ask for larger sizes, over "entry 0\n", "entry 1\n" and so on.
type grown struct {
	tree    hashes
	entries [][]byte
	signer  note.Signer
	key     note.Verifier
}

// checkSizes compares what another program says of the trees of many sizes, line by line.
func checkSizes(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	scanner := bufio.NewScanner(file)
	scanner.Scan()
	log, err := openKey(strings.TrimPrefix(scanner.Text(), "key "))
	if err != nil {
		return "", err
	}
	counts := map[string]int{}
	for scanner.Scan() {
		line := scanner.Text()
		words := strings.Split(line, " ")
		size, err := strconv.ParseInt(words[1], 10, 64)
		if err != nil {
			return "", err
		}
		if err := log.growTo(size); err != nil {
			return "", err
		}
		expected, err := log.describe(words, size)
		if err != nil {
			return "", fmt.Errorf("%s: %v", line, err)
		}
		if line != expected {
			return "", fmt.Errorf("%s: should be %s", line, expected)
		}
		counts[words[0]]++
	}
	return fmt.Sprintf("%d roots, %d notes, %d sets of files, %d of inclusion proofs, %d of consistency proofs",
		counts["root"], counts["note"], counts["files"], counts["inclusion"], counts["consistency"]), scanner.Err()
}

// openKey makes signer and verifier of a log out of the text of its secret key.
func openKey(secret string) (*grown, error) {
	signer, err := note.NewSigner(secret)
	if err != nil {
		return nil, err
	}
	parts := strings.Split(secret, "+")
	seed, err := base64.StdEncoding.DecodeString(strings.Join(parts[4:], "+"))
	if err != nil {
		return nil, err
	}
	vkey, err := note.NewEd25519VerifierKey(signer.Name(), ed25519.NewKeyFromSeed(seed[1:]).Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	key, err := note.NewVerifier(vkey)
	return &grown{signer: signer, key: key}, err
}

func (g *grown) growTo(size int64) error {
	for n := int64(len(g.entries)); n < size; n++ {
		entry := []byte(fmt.Sprintf("entry %d\n", n))
		if err := g.tree.add(n, entry); err != nil {
			return err
		}
		g.entries = append(g.entries, entry)
	}
	return nil
}

// root is the root of the first entries; the release in Debian gives zeros for none, which is not what RFC 6962 says.
func (g *grown) root(size int64) (tlog.Hash, error) {
	if size == 0 {
		return sha256.Sum256(nil), nil
	}
	return tlog.TreeHash(size, g.tree)
}

// describe writes the line anew, out of this tree.
func (g *grown) describe(words []string, size int64) (string, error) {
	switch words[0] {
	case "root":
		root, err := g.root(size)
		return fmt.Sprintf("root %d %v", size, root), err
	case "note":
		signed, err := g.note(size)
		return fmt.Sprintf("note %d %s", size, digest(signed)), err
	case "files":
		files, err := g.files(size)
		return fmt.Sprintf("files %d %s", size, digest([]byte(files))), err
	}
	step, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		return "", err
	}
	var proofs strings.Builder
	for place := int64(0); place < size; place++ {
		if place%step != 0 && place+1 != size {
			continue
		}
		proof, err := g.prove(words[0], place, size)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&proofs, "%d %s\n", place, joined(proof))
	}
	return fmt.Sprintf("%s %d %d %s", words[0], size, step, digest([]byte(proofs.String()))), nil
}

func (g *grown) prove(kind string, place, size int64) ([]tlog.Hash, error) {
	switch kind {
	case "inclusion":
		proof, err := tlog.ProveRecord(size, place, g.tree)
		return proof, err
	case "consistency":
		proof, err := tlog.ProveTree(size, place+1, g.tree)
		return proof, err
	}
	return nil, fmt.Errorf("unknown kind")
}

// note signs the checkpoint of a size, and opens it again.
func (g *grown) note(size int64) ([]byte, error) {
	root, err := g.root(size)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%v\n", g.signer.Name(), size, root)}, g.signer)
	if err != nil {
		return nil, err
	}
	opened, err := openCheckpoint(signed, g.key)
	if err == nil && (opened.tree.N != size || opened.tree.Hash != root) {
		err = fmt.Errorf("opened as %v", opened.tree)
	}
	return signed, err
}

// files lists every tile and entry bundle of a size with its digest.
func (g *grown) files(size int64) (string, error) {
	var lines []string
	list := func(tile tlog.Tile, data []byte) {
		lines = append(lines, c2spPath(tile)+" "+digest(data)+"\n")
	}
	for _, tile := range widest(tlog.NewTiles(8, 0, size)) {
		data, err := tlog.ReadTileData(tile, g.tree)
		if err != nil {
			return "", err
		}
		list(tile, data)
		if tile.L != 0 {
			continue
		}
		var bundle bytes.Buffer
		for _, entry := range g.entries[tile.N*256 : tile.N*256+int64(tile.W)] {
			if err := binary.Write(&bundle, binary.BigEndian, uint16(len(entry))); err != nil {
				return "", err
			}
			bundle.Write(entry)
		}
		list(tlog.Tile{H: tile.H, L: -1, N: tile.N, W: tile.W}, bundle.Bytes())
	}
	sort.Strings(lines)
	return strings.Join(lines, ""), nil
}

func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func joined(proof []tlog.Hash) string {
	words := make([]string, len(proof))
	for i, hash := range proof {
		words[i] = hash.String()
	}
	return strings.Join(words, ",")
}
