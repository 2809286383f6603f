#ifndef DATA_STORAGE_LOCK_FILE_H_
#define DATA_STORAGE_LOCK_FILE_H_

#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace moe {

// A lock for a file system without locks: files whose being there says that
// their owner lives. PATH.held is the one of who holds the lock alone,
// PATH.held.HOST.PID.N that of each who shares it.
//
//   1. Who wants the lock makes its file, which must not be there yet (O_EXCL).
//   2. It then looks for files of the other kind: finds it one whose owner may
//      live, it removes its own, and has not got the lock.
//   3. While it holds the lock, a thread rewrites the file every `beat`.
//
// A file has the owner's host and pid, and when and where it was started. An
// owner on the same host is asked for: it is gone, or another process has its
// number, then the file is stale and removed. Of others the file is watched:
// one that has not changed for `stale`, by the watcher's clock, is stale. So
// whoever is killed never keeps others out for longer than that; but who is
// suspended for longer may lose the lock without knowing.
class LockFile {
 public:
  struct Timing {
    std::chrono::milliseconds beat = std::chrono::seconds(5);
    std::chrono::milliseconds stale = std::chrono::seconds(60);
  };
  enum class Attempt {
    kTaken,
    kHeld,     // by a process that lives
    kWatched,  // by a process that is not known to live: try again
  };

  LockFile(std::string path, bool shared, Timing timing);
  ~LockFile();  // gives it up
  LockFile(const LockFile&) = delete;
  LockFile& operator=(const LockFile&) = delete;

  // Aborted: the disk refuses. ResourceExhausted: no thread can be had.
  absl::StatusOr<Attempt> Try();
  // Of the last attempt that did not take it: "pid 7 on host a".
  const std::string& holder() const { return holder_; }

 private:
  // A file of another owner, since when it is as it is.
  struct Watched {
    std::string contents;
    std::chrono::steady_clock::time_point since;
    bool has_changed = false;
  };

  absl::StatusOr<bool> Make();
  // Of the files that keep this lock from being taken.
  absl::StatusOr<Attempt> LookForOthers();
  // kTaken: there is none any more.
  Attempt Judge(const std::string& path);
  absl::Status StartBeating();
  void Beat();
  bool IsMine() const;

  const std::string path_;  // of the lock
  const bool shared_;
  const Timing timing_;
  const std::string own_path_;
  std::string holder_;
  std::map<std::string, Watched> watched_;  // by path
  bool is_made_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace moe

#endif  // DATA_STORAGE_LOCK_FILE_H_
