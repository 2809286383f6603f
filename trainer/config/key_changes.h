#ifndef TRAINER_CONFIG_KEY_CHANGES_H_
#define TRAINER_CONFIG_KEY_CHANGES_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "trainer/config/config_layers.h"
#include "trainer/config/train_config.pb.h"

namespace moe {

// Whether the configuration sets "section.key", which must exist.
bool HasKey(const TrainConfig& config, absl::string_view key);

// Keys of a configuration that give way to others, with the reasons, which are
// told from how everything is in the end.
class KeyChanges {
 public:
  // "KEY is V, not the preset's U: REASON" for each key that has another value
  // than at first.
  std::vector<std::string> Notes() const;

 protected:
  // To another key, whose value is told as it is in the end, or to a fact in
  // words.
  struct Reason {
    static Reason Key(absl::string_view key) { return {std::string(key), ""}; }
    static Reason Fact(std::string words) { return {"", std::move(words)}; }
    std::string key;
    std::string fact;
    friend bool operator==(const Reason&, const Reason&) = default;
  };

  KeyChanges(const ConfigLayers& layers, TrainConfig& config)
      : layers_(layers), before_(config), config_(config) {}

  const ConfigLayers& layers() const { return layers_; }
  TrainConfig& config() const { return config_; }
  // Typed, or the checkpoint's.
  bool IsGiven(absl::string_view key) const {
    return HasKey(layers_.typed, key) || HasKey(layers_.checkpoint, key);
  }

  // Changes the key's value by `set`.
  template <typename SetFunction>
  void Change(absl::string_view key, const std::vector<Reason>& reasons,
              SetFunction set) {
    set();
    Remember(key, reasons);
  }
  template <typename SetFunction>
  void Change(absl::string_view key, absl::string_view because_of,
              SetFunction set) {
    Change(key, std::vector<Reason>{Reason::Key(because_of)}, set);
  }

 private:
  struct Changed {
    std::string key;
    std::vector<Reason> reasons;
  };

  void Remember(absl::string_view key, const std::vector<Reason>& reasons);
  std::string ReasonText(const Reason& reason) const;

  const ConfigLayers& layers_;
  const TrainConfig before_;
  TrainConfig& config_;
  std::vector<Changed> changed_;
};

}  // namespace moe

#endif  // TRAINER_CONFIG_KEY_CHANGES_H_
