// Lists every archive of a directory as Go's archive/tar reads it; see main.rs for the format.
// With a second argument it writes archives in that directory instead, one for each of Go's formats.
package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

func list(out io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	plain, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	archive := tar.NewReader(plain)
	for {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		kind := "other"
		switch header.Typeflag {
		case tar.TypeReg, tar.TypeRegA:
			kind = "f"
		case tar.TypeDir:
			kind = "d"
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, archive); err != nil {
			return err
		}
		fmt.Fprintf(out, "%s %s %x %d %x\n", filepath.Base(path), kind, header.Name, header.Size, hash.Sum(nil))
	}
	// To the end, where the checksum is.
	_, err = io.Copy(io.Discard, plain)
	return err
}

func write(path string, format tar.Format, files [][2]string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	compressed := gzip.NewWriter(file)
	archive := tar.NewWriter(compressed)
	for _, entry := range files {
		header := &tar.Header{Name: entry[0], Mode: 0644, Size: int64(len(entry[1])), Format: format, Typeflag: tar.TypeReg}
		if strings.HasSuffix(entry[0], "/") {
			header.Typeflag, header.Mode = tar.TypeDir, 0755
		}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := io.WriteString(archive, entry[1]); err != nil {
			return err
		}
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return compressed.Close()
}

func main() {
	if len(os.Args) > 2 {
		short := [][2]string{
			{"p-1.0.0/", ""},
			{"p-1.0.0/drystone.toml", "[package]\nname = 'p'\nversion = '1.0.0'\n"},
			{"p-1.0.0/" + strings.Repeat("directory/", 12) + "file", "x"},
		}
		long := append(short, [2]string{"p-1.0.0/" + strings.Repeat("é", 70), strings.Repeat("y", 600)})
		for name, err := range map[string]error{
			"ustar": write(filepath.Join(os.Args[2], "go-ustar.tar.gz"), tar.FormatUSTAR, short),
			"gnu":   write(filepath.Join(os.Args[2], "go-gnu.tar.gz"), tar.FormatGNU, long),
			"pax":   write(filepath.Join(os.Args[2], "go-pax.tar.gz"), tar.FormatPAX, long),
		} {
			if err != nil {
				fmt.Fprintln(os.Stderr, name, err)
				os.Exit(1)
			}
		}
		return
	}
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	names, err := filepath.Glob(filepath.Join(os.Args[1], "*"))
	if err != nil {
		panic(err)
	}
	for _, path := range names {
		if err := list(out, path); err != nil {
			fmt.Fprintln(out, filepath.Base(path), "error", strings.ReplaceAll(err.Error(), "\n", " "))
		}
		fmt.Fprintln(out, filepath.Base(path), "end")
	}
}
