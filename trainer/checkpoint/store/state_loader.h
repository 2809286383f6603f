#ifndef TRAINER_CHECKPOINT_STORE_STATE_LOADER_H_
#define TRAINER_CHECKPOINT_STORE_STATE_LOADER_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "data/storage/file_system.h"
#include "trainer/checkpoint/format/manifest.h"
#include "trainer/checkpoint/format/safetensors.h"
#include "trainer/checkpoint/format/state_piece.h"

namespace moe {

// The optimizer state of a checkpoint, read by elements of whole tensors,
// whatever layout wrote the pieces and whatever layout asks.
class StateLoader {
 public:
  // Reads the headers of the files that the manifest lists. DataLoss: a name
  // that is no piece, or a piece whose tensor has another size.
  static absl::StatusOr<std::unique_ptr<StateLoader>> Open(
      FileSystem& files, const std::string& directory,
      const CheckpointManifest& manifest);

  // DataLoss: the pieces of a trained parameter do not add up to its elements,
  // as when it was frozen in the run that wrote them. What is stored of a
  // frozen one is not looked at.
  absl::Status Check(const ParameterTable& table) const;

  // out = elements [begin, begin + out.size()) of a whole tensor's state, which
  // has `columns` columns. DataLoss: no piece has one of them.
  absl::Status Load(const std::string& parameter, const std::string& state,
                    int64_t columns, int64_t begin,
                    absl::Span<float> out) const;

 private:
  struct Stored {
    StatePiece piece;
    size_t file = 0;
    const StoredTensor* tensor = nullptr;
  };

  explicit StateLoader(std::string directory)
      : directory_(std::move(directory)) {}
  absl::Status AddPieces(size_t file);

  const std::string directory_;
  std::vector<SafetensorsFile> files_;
  std::map<std::pair<std::string, std::string>, std::vector<Stored>> pieces_;
};

}  // namespace moe

#endif  // TRAINER_CHECKPOINT_STORE_STATE_LOADER_H_
