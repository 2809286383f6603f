#include "trainer/checkpoint/store/source_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "tests/data/temporary_directory.h"
#include "trainer/checkpoint/format/checkpoint_directory.h"
#include "trainer/checkpoint/format/hf_config.h"

namespace moe {
namespace {

using testing::HasSubstr;

// Another's checkpoint with a chat template, by its words alone.
class SourceWordsTest : public testing::Test {
 protected:
  SourceWordsTest() {
    directory_.Write(kConfigFile, ConfigJson(MakeHuggingFaceConfig(
                                      ModelConfig(), RouterConfig(),
                                      /*sequence_length=*/32)));
    template_ = directory_.Write("chat_template.jinja", "{{ x }}");
  }

  FileSystem& files_ = PosixFileSystem();
  TemporaryDirectory directory_;
  std::string template_;
};

TEST_F(SourceWordsTest, TheTokenizersFilesAreReadWhereTheyAreAskedFor) {
  const auto words = ReadSourceWords(files_, directory_.path());
  ASSERT_TRUE(words.ok()) << words.status();
  EXPECT_TRUE(words->tokenizer_files.empty());
  const auto all = ReadSourceWordsAndTokenizerFiles(files_, directory_.path());
  ASSERT_TRUE(all.ok()) << all.status();
  ASSERT_EQ(all->tokenizer_files.size(), 1u);
  EXPECT_EQ(all->tokenizer_files[0].name, "chat_template.jinja");
  EXPECT_EQ(all->tokenizer_files[0].contents, "{{ x }}");
}

// One of more bytes than are taken, which need no room on the disk: who tests
// as root can read what nobody may.
TEST_F(SourceWordsTest, OneThatCannotBeReadIsNamedToWhoCarriesItOn) {
  std::filesystem::resize_file(template_, (uint64_t{1} << 28) + 1);
  EXPECT_TRUE(ReadSourceWords(files_, directory_.path()).ok());
  const absl::Status status =
      ReadSourceWordsAndTokenizerFiles(files_, directory_.path()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("cannot read " + template_));
}

}  // namespace
}  // namespace moe
