import de.bwaldvogel.mongo.MongoServer;
import de.bwaldvogel.mongo.MongoVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import de.bwaldvogel.mongo.bson.Document;
import de.bwaldvogel.mongo.wire.message.MongoMessage;
import java.util.List;
import org.h2.mvstore.MVStore;

/**
 * Server PORT FILE: speaks MongoDB's wire protocol on loopback and keeps its data in FILE.
 *
 * <p>It says that it is a 7.0, because today's drivers speak to nothing older than 4.2. One command
 * after the other, each committed to the file before its answer: left to itself the backend commits
 * once a second, in the middle of a command too, and after a kill -9 has documents that its index
 * lacks.
 */
class Server extends H2Backend {
  private Server(MVStore store) {
    super(store);
  }

  @Override
  public synchronized Document handleMessage(MongoMessage message) {
    Document answer = super.handleMessage(message);
    commit(); // writes nothing when nothing has changed
    return answer;
  }

  public static void main(String[] args) {
    MVStore store = new MVStore.Builder().fileName(args[1]).autoCommitDisabled().open();
    Server backend = new Server(store);
    backend.version(
        new MongoVersion() {
          @Override
          public List<Integer> getVersionArray() {
            return List.of(7, 0, 0, 0);
          }

          @Override
          public int getWireVersion() {
            return 21;
          }
        });
    new MongoServer(backend).bind("127.0.0.1", Integer.parseInt(args[0]));
  }
}
