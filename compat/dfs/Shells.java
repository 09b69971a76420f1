import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.util.ToolRunner;

/**
 * Many FsShell commands in one JVM. Reads lines from standard input: a name, then the command's words, all separated by tabs.
 * A command's output goes to DIR/NAME.out, what it says on stderr to DIR/NAME.err, its exit code to DIR/NAME.rc; a line "done
 * NAME" on standard output says that it has ended. Words that begin with a colon are not FsShell's but this program's.
 */
public class Shells {
    public static void main(String[] args) throws Exception {
        Path dir = Path.of(args[0]);
        Configuration conf = new Configuration();
        for (int i = 1; i < args.length; i++) {
            String[] pair = args[i].split("=", 2);
            conf.set(pair[0], pair[1]);
        }
        conf.setBoolean("fs.hdfs.impl.disable.cache", true);
        conf.setBoolean("fs.webhdfs.impl.disable.cache", true);
        PrintStream said = System.out;
        PrintStream err = System.err;
        var lines = new java.io.BufferedReader(new java.io.InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = lines.readLine()) != null; ) {
            String[] words = line.split("\t");
            String[] command = Arrays.copyOfRange(words, 1, words.length);
            int code;
            try (PrintStream out = new PrintStream(new FileOutputStream(dir.resolve(words[0] + ".out").toFile()));
                    PrintStream errors = new PrintStream(new FileOutputStream(dir.resolve(words[0] + ".err").toFile()))) {
                System.setOut(out);
                System.setErr(errors);
                try {
                    code = command[0].startsWith(":") ? own(conf, command) : ToolRunner.run(new Configuration(conf), new FsShell(), command);
                } catch (Throwable thrown) {
                    thrown.printStackTrace(errors);
                    code = 99;
                }
            }
            System.setOut(said);
            System.setErr(err);
            Files.writeString(dir.resolve(words[0] + ".rc"), code + "\n");
            said.println("done " + words[0]);
            said.flush();
        }
    }

    /** What FsShell cannot do: flush and read beside a writer, and hold a file open while data nodes come and go. */
    static int own(Configuration conf, String[] command) throws Exception {
        try (FileSystem fs = FileSystem.newInstance(conf)) {
            var path = new org.apache.hadoop.fs.Path(command[1]);
            switch (command[0]) {
                case ":flush": { // :flush PATH : what was flushed can be read while the file is open, no more and no less
                    byte[] data = new byte[1_000_001];
                    new java.util.Random(7).nextBytes(data);
                    int[] steps = {1, 1000, 511, 1, 65_536, 100_000, 832_952};
                    try (FSDataOutputStream out = fs.create(path, true)) {
                        int written = 0;
                        for (int step : steps) {
                            out.write(data, written, step);
                            written += step;
                            if (step % 2 == 0) {
                                out.hsync();
                            } else {
                                out.hflush();
                            }
                            try (FSDataInputStream in = fs.open(path)) {
                                byte[] read = in.readAllBytes();
                                if (!Arrays.equals(read, Arrays.copyOf(data, written))) {
                                    System.out.println("read " + read.length + " bytes of " + written + " that were flushed");
                                    return 1;
                                }
                            }
                        }
                    }
                    try (FSDataInputStream in = fs.open(path)) {
                        return Arrays.equals(in.readAllBytes(), data) ? 0 : 1;
                    }
                }
                case ":slow": { // :slow LOCAL PATH-is-word-1 SECONDS : writes a local file in pieces over some seconds
                    int pieces = 40;
                    try (InputStream in = new FileInputStream(command[2]); FSDataOutputStream out = fs.create(path, true)) {
                        int size = in.available() / pieces + 1;
                        for (byte[] piece; (piece = in.readNBytes(size)).length > 0; ) {
                            out.write(piece);
                            out.hflush();
                            Thread.sleep(Long.parseLong(command[3]) * 1000 / pieces);
                        }
                    }
                    return 0;
                }
                case ":small": { // :small DIR COUNT : many small files, one after another; prints files per second
                    int count = Integer.parseInt(command[2]);
                    byte[] data = new byte[10_240];
                    long began = System.nanoTime();
                    for (int i = 0; i < count; i++) {
                        try (FSDataOutputStream out = fs.create(new org.apache.hadoop.fs.Path(path, "f" + i), true)) {
                            out.write(data);
                        }
                    }
                    System.out.printf("%.0f%n", count * 1e9 / (System.nanoTime() - began));
                    return 0;
                }
                case ":checksums": { // :checksums PATH : appends by clients with other checksum types and chunk sizes than the file's
                    Object[][] others = {{"CRC32", 4096}, {"CRC32", 512}, {"CRC32C", 4096}, {"NULL", 512}, {"CRC32C", 512}};
                    byte[] data = new byte[1_000_001];
                    new java.util.Random(8).nextBytes(data);
                    int written = 777_777;
                    try (FSDataOutputStream out = fs.create(path, true)) {
                        out.write(data, 0, written);
                    }
                    for (Object[] other : others) {
                        Configuration set = new Configuration(conf);
                        set.set("dfs.checksum.type", (String) other[0]);
                        set.setInt("dfs.bytes-per-checksum", (int) other[1]);
                        try (FileSystem appender = FileSystem.newInstance(set); FSDataOutputStream out = appender.append(path)) {
                            out.write(data, written, 7_001);
                            written += 7_001;
                        }
                        try (FSDataInputStream in = fs.open(path)) {
                            if (!Arrays.equals(in.readAllBytes(), Arrays.copyOf(data, written))) {
                                System.out.println("other bytes after " + Arrays.toString(other));
                                return 1;
                            }
                        }
                    }
                    return 0;
                }
                case ":recover": { // :recover PATH : as Flink's file sink: a lost writer's file is closed, then cut to a checkpoint
                    var hdfs = (org.apache.hadoop.hdfs.DistributedFileSystem) fs;
                    byte[] data = new byte[1_700_000];
                    new java.util.Random(9).nextBytes(data);
                    Configuration other = new Configuration(conf);
                    FSDataOutputStream lost = FileSystem.newInstance(other).create(path, true);
                    lost.write(data);
                    lost.hflush();
                    for (int i = 0; !hdfs.recoverLease(path); i++) {
                        if (i > 200) {
                            return 1;
                        }
                        Thread.sleep(100);
                    }
                    boolean done = hdfs.truncate(path, 1_200_000);
                    for (int i = 0; !done && !hdfs.isFileClosed(path); i++) {
                        if (i > 200) {
                            return 2;
                        }
                        Thread.sleep(100);
                    }
                    try (FSDataInputStream in = fs.open(path)) {
                        return Arrays.equals(in.readAllBytes(), Arrays.copyOf(data, 1_200_000)) ? 0 : 3;
                    }
                }
                case ":batched": { // :batched DIR : lists two directories, one of them longer than a page, and one that is absent
                    var hdfs = (org.apache.hadoop.hdfs.DistributedFileSystem) fs;
                    var dirs = new java.util.ArrayList<org.apache.hadoop.fs.Path>();
                    for (int dir = 0; dir < 2; dir++) {
                        dirs.add(new org.apache.hadoop.fs.Path(path, "d" + dir));
                        for (int i = 0; i < (dir == 0 ? 1003 : 2); i++) {
                            fs.mkdirs(new org.apache.hadoop.fs.Path(dirs.get(dir), "e" + i));
                        }
                    }
                    dirs.add(1, new org.apache.hadoop.fs.Path(path, "absent"));
                    int seen = 0;
                    int absent = 0;
                    for (var page = hdfs.batchedListStatusIterator(dirs); page.hasNext(); ) {
                        try {
                            seen += page.next().get().size();
                        } catch (java.io.FileNotFoundException e) {
                            absent++;
                        }
                    }
                    System.out.println(seen + " " + absent);
                    return seen == 1005 && absent == 1 ? 0 : 1;
                }
                case ":handle": { // :handle PATH : a file is opened by its handle after it moved
                    try (FSDataOutputStream out = fs.create(path, true)) {
                        out.write(7);
                    }
                    var handle = fs.getPathHandle(fs.getFileStatus(path), org.apache.hadoop.fs.Options.HandleOpt.content());
                    fs.rename(path, path.suffix(".moved"));
                    try (FSDataInputStream in = fs.open(handle)) {
                        return in.read() == 7 && in.read() < 0 ? 0 : 1;
                    }
                }
                default:
                    System.out.println("no such command");
                    return 2;
            }
        }
    }
}
