import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Writes and reads small files with Hadoop's own client. Arguments: hdfs://HOST:PORT, files, bytes each, threads. */
public class SmallFiles {
    interface Work {
        void one(FileSystem fs, int number) throws Exception;
    }

    static void measure(String name, FileSystem fs, int files, int threads, Work work) throws Exception {
        long began = System.nanoTime();
        List<Thread> all = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
            final int first = thread;
            Thread runner = new Thread(() -> {
                try {
                    for (int number = first; number < files; number += threads) {
                        work.one(fs, number);
                    }
                } catch (Exception error) {
                    error.printStackTrace();
                    System.exit(1);
                }
            });
            runner.start();
            all.add(runner);
        }
        for (Thread runner : all) {
            runner.join();
        }
        double seconds = (System.nanoTime() - began) / 1e9;
        System.out.printf("%-24s %2d threads %9.0f /s %9.2f ms each%n", name, threads, files / seconds, 1e3 * seconds * threads / files);
    }

    public static void main(String[] arguments) throws Exception {
        int files = Integer.parseInt(arguments[1]);
        byte[] contents = new byte[Integer.parseInt(arguments[2])];
        Configuration configuration = new Configuration();
        configuration.set("dfs.replication", "1");
        FileSystem fs = FileSystem.get(URI.create(arguments[0]), configuration);
        Work write = (system, number) -> {
            try (FSDataOutputStream out = system.create(new Path("/small/" + number), true)) {
                out.write(contents);
            }
        };
        // The first files pay for Java's compiler.
        measure("(warm up)", fs, files / 2, 1, write);
        for (int threads : new int[] {1, Integer.parseInt(arguments[3])}) {
            measure("write " + contents.length + " B", fs, files, threads, write);
            measure("mkdir", fs, files, threads, (system, number) -> system.mkdirs(new Path("/directories/" + threads + "/" + number)));
            measure("status", fs, files, threads, (system, number) -> system.getFileStatus(new Path("/small/" + number)));
            measure("read", fs, files, threads, (system, number) -> {
                try (FSDataInputStream in = system.open(new Path("/small/" + number))) {
                    in.readFully(new byte[contents.length]);
                }
            });
        }
        System.exit(0);
    }
}
