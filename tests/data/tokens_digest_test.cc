#include "data/tokens_digest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "data/corpus_digest.h"
#include "tests/data/corpus_fixture.h"
#include "tests/fake_file_system.h"

namespace moe {
namespace {

// Tells which files were mapped: whose bytes were read.
class WatchedFiles : public FakeFileSystem {
 public:
  absl::StatusOr<std::unique_ptr<MappedFile>> Map(
      const std::string& path) override {
    mapped.insert(path);
    return FakeFileSystem::Map(path);
  }
  std::set<std::string> mapped;
};

class TokensDigestTest : public CorpusTest {
 protected:
  TokensDigestTest()
      : prefix_(directory_.Path("p")), cache_(directory_.Path("cache")) {
    WriteDataset(prefix_, CountingDocuments({30, 1, 60}));
  }
  // As if another program had written the pair.
  void RemoveOwnDigest() { std::filesystem::remove(DigestPath(prefix_)); }
  TokensDigest Find() {
    files_.mapped.clear();
    const auto digest =
        FindTokensDigest(files_, prefix_, {.path = cache_, .store = true});
    EXPECT_TRUE(digest.ok()) << digest.status();
    return digest.ok() ? *digest : TokensDigest();
  }

  const std::string prefix_;
  const std::string cache_;
  WatchedFiles files_;
};

// By libxxhash and the words of the header, from Python: what a digest is may
// not change, or runs would not know their data.
TEST_F(TokensDigestTest, ADigestIsWhatItWas) {
  EXPECT_EQ(CombineDigests(0, Digest(""), 0, Digest("")).xxh3,
            0x299841a763d6ff9a);
  const auto digest = ReadTokensDigest(files_, prefix_);
  ASSERT_TRUE(digest.ok()) << digest.status();
  EXPECT_EQ(digest->idx_bytes, 34 + 3 * 12 + 4 * 8);
  EXPECT_EQ(digest->bin_bytes, 91 * 4);
  EXPECT_EQ(digest->xxh3, 0x689384d4a14b77cc);
}

TEST_F(TokensDigestTest, TheWriterStoresWhatAReaderFinds) {
  EXPECT_EQ(Find(), *ReadTokensDigest(files_, prefix_));
  EXPECT_FALSE(std::filesystem::exists(cache_));
  files_.mapped.clear();
  Find();
  EXPECT_THAT(files_.mapped, testing::IsEmpty());
}

TEST_F(TokensDigestTest, AnothersPairIsReadOnce) {
  const TokensDigest digest = Find();
  RemoveOwnDigest();
  EXPECT_EQ(Find(), digest);
  EXPECT_THAT(files_.mapped, testing::SizeIs(2));
  EXPECT_FALSE(std::filesystem::exists(DigestPath(prefix_)));
  EXPECT_EQ(Find(), digest);
  EXPECT_THAT(files_.mapped, testing::IsEmpty());
}

TEST_F(TokensDigestTest, WhoStoresNothingTakesWhatIsStored) {
  RemoveOwnDigest();
  const DigestCache cache = {.path = cache_, .store = false};
  const auto read = FindTokensDigest(files_, prefix_, cache);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_THAT(files_.mapped, testing::SizeIs(2));
  EXPECT_FALSE(std::filesystem::exists(cache_));
  EXPECT_EQ(Find(), *read);  // and stores it
  files_.mapped.clear();
  EXPECT_EQ(*FindTokensDigest(files_, prefix_, cache), *read);
  EXPECT_THAT(files_.mapped, testing::IsEmpty());
}

TEST_F(TokensDigestTest, ItIsOfTheBytesAndNotOfTheName) {
  const TokensDigest digest = Find();
  const std::string other = directory_.Path("other");
  for (const char* end : {".bin", ".idx"})
    std::filesystem::copy(prefix_ + end, other + end);
  EXPECT_EQ(*FindTokensDigest(files_, other, {}), digest);
  for (const char* end : {".bin", ".idx", ".digest"})
    std::filesystem::rename(prefix_ + end, directory_.Path("q") + end);
  EXPECT_EQ(*FindTokensDigest(files_, directory_.Path("q"), {}), digest);
}

// Whatever is changed of the files, with all times as they were.
TEST_F(TokensDigestTest, ChangedFilesHaveAnotherDigest) {
  const TokensDigest digest = Find();
  const auto alter = [&](const std::string& name,
                         const std::function<void(std::string&)>& how) {
    const auto time = std::filesystem::last_write_time(directory_.Path(name));
    const std::string whole = directory_.Read(name);
    std::string bytes = whole;
    how(bytes);
    Overwrite(name, bytes);
    std::filesystem::last_write_time(directory_.Path(name), time);
    EXPECT_NE(Find(), digest) << name;
    Overwrite(name, whole);
    EXPECT_EQ(Find(), digest) << name;
  };
  for (const std::string name : {"p.bin", "p.idx"}) {
    alter(name, [](std::string& bytes) { bytes.front() ^= 1; });
    alter(name, [](std::string& bytes) { bytes.back() ^= 1; });
    alter(name, [](std::string& bytes) { bytes.pop_back(); });
    alter(name, [](std::string& bytes) { bytes.clear(); });
    alter(name,
          [](std::string& bytes) { std::reverse(bytes.begin(), bytes.end()); });
  }
}

TEST_F(TokensDigestTest, ADamagedStoredDigestIsMadeAnew) {
  const TokensDigest digest = Find();
  RemoveOwnDigest();
  Find();
  const std::string whole = directory_.Read("cache");
  for (size_t i = 0; i < whole.size(); i += 7) {
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    directory_.Write("cache", damaged);
    ASSERT_EQ(Find(), digest) << i;
    ASSERT_THAT(files_.mapped, testing::SizeIs(2)) << i;
    directory_.Write("cache", whole.substr(0, i));
    ASSERT_EQ(Find(), digest) << i;
  }
  directory_.Write("cache", std::string(1 << 20, '\0'));
  EXPECT_EQ(Find(), digest);
}

TEST_F(TokensDigestTest, AFileThatCannotBeReadIsNamed) {
  RemoveOwnDigest();
  std::filesystem::remove(prefix_ + ".bin");
  const absl::Status gone = FindTokensDigest(files_, prefix_, {}).status();
  EXPECT_TRUE(absl::IsNotFound(gone)) << gone;
  EXPECT_THAT(std::string(gone.message()), testing::HasSubstr("p.bin"));
  std::filesystem::create_directory(prefix_ + ".bin");
  const absl::Status none = FindTokensDigest(files_, prefix_, {}).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(none)) << none;
}

// Pages that nobody wrote: all zero, and none is taken but those written to.
class Pages {
 public:
  explicit Pages(size_t size)
      : size_(size),
        data_(static_cast<char*>(
            mmap(nullptr, size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0))) {
    madvise(data_, size, MADV_NOHUGEPAGE);
  }
  ~Pages() { munmap(data_, size_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  char* data() { return data_; }
  absl::string_view bytes() const { return {data_, size_}; }

 private:
  size_t size_;
  char* data_;
};

// 4,096 blocks of 64 KiB, whatever the size is.
TEST_F(TokensDigestTest, OfATerabyteAQuarterGibibyteIsRead) {
  const Pages terabyte(size_t{1} << 40);
  const Pages read(size_t{256} << 20);
  EXPECT_EQ(DigestOfBin(terabyte.bytes()), Digest(read.bytes()));
}

TEST_F(TokensDigestTest, APartOfALargeFileCountsByABlock) {
  constexpr size_t kPart = size_t{1} << 20;
  Pages pages(4096 * kPart + 5);
  std::set<uint64_t> digests = {DigestOfBin(pages.bytes())};
  for (const size_t part : {0, 1, 2048, 4095}) {
    std::fill_n(pages.data() + part * kPart, kPart, '1');
    EXPECT_TRUE(digests.insert(DigestOfBin(pages.bytes())).second) << part;
  }
}

// By libxxhash and the words of the header, from Python.
TEST_F(TokensDigestTest, WhereTheBlocksAreIsDrawnFromTheSize) {
  Pages pages((size_t{4} << 30) + (size_t{4} << 20));
  for (size_t at = 0; at < pages.bytes().size(); at += 999'983)
    pages.data()[at] = static_cast<char>(1 + at % 251);
  EXPECT_EQ(DigestOfBin(pages.bytes()), 0xb628f8379798fa43);
}

TEST_F(TokensDigestTest, ACorpusHasADigestOfEachSourceInOrder) {
  WriteDataset(directory_.Path("q"), CountingDocuments({40}, 100));
  AddTrain(directory_.Path("p"));
  AddTrain(directory_.Path("q"));
  AddValid(directory_.Path("q"));
  const auto digest = DigestCorpus(options_, /*store=*/true);
  ASSERT_TRUE(digest.ok()) << digest.status();
  const TokensDigest p = *ReadTokensDigest(files_, directory_.Path("p"));
  const TokensDigest q = *ReadTokensDigest(files_, directory_.Path("q"));
  EXPECT_THAT(digest->train, testing::ElementsAre(p, q));
  EXPECT_THAT(digest->valid, testing::ElementsAre(q));
}

// That nothing is read again shows where what is stored is another's.
TEST_F(TokensDigestTest, ACorpusTakesWhatItsCacheHasAlsoWhereItStoresNothing) {
  RemoveOwnDigest();
  AddTrain(prefix_);
  const auto first = DigestCorpus(options_, /*store=*/false);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_FALSE(std::filesystem::exists(options_.cache_directory));
  EXPECT_EQ(*DigestCorpus(options_, /*store=*/true), *first);
  TokensDigest other = first->train[0];
  ++other.xxh3;
  for (const auto& entry :
       std::filesystem::directory_iterator(options_.cache_directory)) {
    ASSERT_TRUE(StoreTokensDigest(PosixFileSystem(), entry.path().string(),
                                  *IdentifyPair(PosixFileSystem(), prefix_),
                                  other)
                    .ok());
  }
  for (const bool store : {false, true})
    EXPECT_THAT(DigestCorpus(options_, store)->train,
                testing::ElementsAre(other));
}

TEST_F(TokensDigestTest, ATextHasTheDigestOfItsTokens) {
  UseTokenizer();
  AddTrain(directory_.Write("a.txt", GeneratedText(5000, 1)));
  ASSERT_TRUE(Prepare().ok());
  const auto digest = DigestCorpus(options_, /*store=*/false);
  ASSERT_TRUE(digest.ok()) << digest.status();
  options_.config.clear_train();
  std::filesystem::create_directory(directory_.Path("moved"));
  AddTrain(directory_.Write("moved/b.txt", GeneratedText(5000, 1)));
  ASSERT_TRUE(Prepare().ok());
  EXPECT_EQ(*DigestCorpus(options_, /*store=*/false), *digest);
  options_.config.clear_train();
  AddTrain(directory_.Write("c.txt", GeneratedText(5000, 2)));
  EXPECT_FALSE(DigestCorpus(options_, /*store=*/false).ok())
      << "it is not tokenized";
  ASSERT_TRUE(Prepare().ok());
  EXPECT_NE(*DigestCorpus(options_, /*store=*/false), *digest);
}

}  // namespace
}  // namespace moe
