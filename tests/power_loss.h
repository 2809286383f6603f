#ifndef TESTS_POWER_LOSS_H_
#define TESTS_POWER_LOSS_H_

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>

#include "absl/strings/string_view.h"
#include "tests/journal_file_system.h"

namespace moe {

// What a disk holds after the power failed, by what POSIX promises: of a file
// the bytes that it had when it was last synced, of a directory the names that
// it had when it was last synced. Whatever came later may be there or not, each
// name and each file for itself.
class Disk {
 public:
  // Of what was never synced: nothing is there; the names are but of the bytes
  // nothing; or a draw for each name and each file, of some bytes too.
  enum class Unsynced { kLost, kNamesStay, kDrawn };

  // `root` is durable and empty.
  explicit Disk(std::string root);

  void Do(const JournalFileSystem::Call& call);
  // Writes what is left to `directory`, in place of what is there.
  void WriteTo(const std::string& directory, Unsynced unsynced,
               uint32_t seed) const;

 private:
  struct Node;
  using Names = std::map<std::string, std::shared_ptr<Node>>;
  // A file or a directory, now and as synced last.
  struct Node {
    bool is_directory = false;
    std::string bytes, synced_bytes;
    Names names, synced_names;
  };
  using Draw = std::minstd_rand;

  std::string Relative(const std::string& path) const;
  Node& Find(const std::string& path);
  Names& NamesBeside(const std::string& path);
  static void WriteNode(const Node& node, const std::string& path,
                        Unsynced unsynced, Draw& draw);
  static Names Left(const Node& directory, Unsynced unsynced, Draw& draw);
  static std::string LeftBytes(const Node& file, Unsynced unsynced, Draw& draw);

  const std::string root_;
  Node tree_;
};

}  // namespace moe

#endif  // TESTS_POWER_LOSS_H_
