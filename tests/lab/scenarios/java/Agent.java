import java.net.InetSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Reconnects to a broker that never answers: a thread, a socket and a buffer for each attempt, none of them given back.
 * Two more threads keep a log each, in a directory.
 */
public class Agent {
    public static void main(String[] args) throws Exception {
        var broker = new InetSocketAddress(args[0], Integer.parseInt(args[1]));
        double pause = 1000.0 / Integer.parseInt(args[2]);
        long started = System.currentTimeMillis();
        int kept = Integer.parseInt(args[3]) << 10;
        keepLog(Path.of(args[4], "agent.log"));
        keepLog(Path.of(args[4], "audit.log"));
        List<byte[]> unsent = new ArrayList<>();
        System.out.println("READY");
        while (true) {
            byte[] messages = new byte[kept];
            java.util.Arrays.fill(messages, (byte) 1);
            unsent.add(messages);
            Thread t = new Thread(() -> {
                try {
                    SocketChannel.open(broker);
                } catch (Exception e) {
                    // The broker is down: the next attempt is on its way already.
                }
            });
            t.setDaemon(true);
            t.start();
            // A busy machine catches up.
            Thread.sleep(Math.max(1, started + (long) (unsent.size() * pause) - System.currentTimeMillis()));
        }
    }

    static void keepLog(Path file) {
        Thread t = new Thread(() -> {
            try {
                while (true) {
                    Files.writeString(file, "no answer");
                    Thread.sleep(20);
                }
            } catch (Exception e) {
                throw new RuntimeException(e);
            }
        }, file.getFileName().toString());
        t.setDaemon(true);
        t.start();
    }
}
